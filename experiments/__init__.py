"""Kinds and designs of your own: a file here is named by its path, `attention: experiments/fading.py`."""
