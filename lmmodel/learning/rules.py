"""Published rules for how to train a model of some size: tokens, batch, learning rate. Where to begin, not to end.

Tokens: Hoffmann and others, 2022, "Training Compute-Optimal Large Language Models" (Chinchilla), of all parameters.
Batch and rate: Li and others, 2025, "Predictable Scale: Part I, Step Law" (arXiv:2503.04715), fitted to AdamW and to
models of 60 million parameters and more; below that they are carried on.
"""

from __future__ import annotations

TOKENS_PER_PARAMETER = 20


def tokens(parameters: float) -> float:
    """What a model of so many parameters, embeddings among them, is best trained on for its compute."""
    return TOKENS_PER_PARAMETER * parameters


def batch_tokens(tokens: float) -> float:
    """Between two updates of a training on `tokens`."""
    return 0.58 * tokens**0.571


def adamw_rate(parameters: float, tokens: float) -> float:
    """AdamW's peak learning rate for so many parameters, embeddings not among them, trained on `tokens`."""
    return 1.79 * parameters**-0.713 * tokens**0.307
