"""Training speed, side by side with what a user would pick instead; see `__main__`."""
