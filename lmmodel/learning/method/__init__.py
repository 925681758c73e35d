"""What of a trained model fine-tuning changes; one kind a file."""
