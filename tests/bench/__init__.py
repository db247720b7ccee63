"""What is measured, side by side with what the system offers: each module has a `run` that prints a table."""
