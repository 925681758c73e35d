"""What everybody trains here: one shape, one stream of tokens, one recipe. Only the engine differs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """A decoder-only transformer, and how much of it is computed at once and between two updates."""

    name: str
    depth: int
    width: int
    heads: int
    hidden: int
    gated: bool
    context: int
    vocab_size: int
    micro_tokens: int
    batch_tokens: int

    @property
    def micro_rows(self) -> int:
        """Rows of a micro-batch."""
        return self.micro_tokens // self.context

    @property
    def parts(self) -> int:
        """Micro-batches between two updates."""
        return self.batch_tokens // self.micro_tokens

    @property
    def matrix_parameters(self) -> int:
        """Weights that a token is multiplied with: of the layers and the head."""
        layer = 4 * self.width**2 + (3 if self.gated else 2) * self.width * self.hidden
        return self.depth * layer + self.width * self.vocab_size

    @property
    def flops_per_token(self) -> int:
        """Of training: 6 N + 12 L D T, counting scores that a mask hides, as is the custom."""
        return 6 * self.matrix_parameters + 12 * self.depth * self.width * self.context

    def batch(self, step: int) -> np.ndarray:
        """Tokens [rows, context + 1] of update `step`, int64: the same for everybody, as uneven as a language's."""
        chance = np.random.default_rng(step)
        ranks = chance.zipf(1.2, size=(self.batch_tokens // self.context, self.context + 1))
        return (ranks % self.vocab_size).astype(np.int64)


LEARNING_RATE, WEIGHT_DECAY, CLIP = 1e-3, 0.1, 1.0

SHAPES = {
    shape.name: shape
    for shape in (
        Shape("S", 6, 384, 6, 1024, True, 256, 8192, 2048, 8192),
        Shape("S-plain", 6, 384, 6, 1536, False, 256, 8192, 2048, 8192),
        Shape("gpt2-124m", 12, 768, 12, 3072, False, 1024, 50304, 32_768, 524_288),
        Shape("llama-1b", 16, 2048, 32, 8192, True, 2048, 32_768, 16_384, 262_144),
    )
}
