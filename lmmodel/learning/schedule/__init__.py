"""How learning rates change over a budget; one kind a file."""
