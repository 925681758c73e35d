"""What a person writes: files with line numbers, strict options, kinds found by their file's name."""
