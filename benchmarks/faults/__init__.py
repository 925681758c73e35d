"""What can go wrong while a stage runs, tried for real: signals, two doors at once, torn files, a full disk."""
