"""Where documents come from: one kind, one file."""
