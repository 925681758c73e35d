"""What `lmmodel` prints: one file a command, each with `arguments` (what it takes) and `show` (what it prints)."""
