"""How weights follow their gradients; one kind a file."""
