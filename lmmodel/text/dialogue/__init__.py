"""Where questions with answers come from: one kind, one file."""
