"""People, their API keys, and what they may use."""
