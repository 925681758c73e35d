"""Positions: how a model tells the order of tokens. One kind, one file."""
