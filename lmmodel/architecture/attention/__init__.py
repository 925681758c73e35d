"""Sequence mixers: the only part through which one token learns of another. One kind, one file."""
