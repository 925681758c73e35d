"""Blocks: how norm, attention and feed-forward hang on the residual stream. One kind, one file."""
