"""Norms: what keeps the size of a token's numbers in hand. One kind, one file."""
