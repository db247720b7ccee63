"""Archives of profiles: the state that an appliance was in when it was installed."""
