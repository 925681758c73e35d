"""The tokens that are no text, and how many tokens a vocabulary of bytes has with them."""

from __future__ import annotations

SPECIALS = ("<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
BYTES = 256


def fits(algorithm: str, vocab_size: int) -> None:
    """ValueError where a vocabulary learnt by `algorithm` has another size, whatever the text."""
    if algorithm == "byte" and vocab_size != (size := BYTES + len(SPECIALS)):
        raise ValueError(
            f"{vocab_size:,} does not go with algorithm byte, "
            f"which has {BYTES} bytes and {len(SPECIALS)} special tokens: write {size}"
        )
