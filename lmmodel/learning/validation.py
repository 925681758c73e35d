"""How well a model predicts text that it never learns from, in nats a token and in bits a byte.

Bits per byte compares models with different tokenizers, and with compressors: all bits that the text cost, those of
special tokens too, over the bytes that its tokens stand for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from lmmodel.text.batches import TokenBatch


class Score(NamedTuple):
    """nats a token; bits a byte."""

    loss_nats: float
    bits_per_byte: float


class Tally:
    """Sums over batches; `byte_lengths_V` says how many bytes of text each token stands for."""

    def __init__(self, byte_lengths_V: np.ndarray) -> None:
        self.byte_lengths_V = byte_lengths_V
        self.nats = self.tokens = self.bytes = 0.0

    def add(self, batch: TokenBatch, nats: float) -> None:
        """A batch and the nats that its counted targets cost."""
        weights_BT = np.ones(batch.targets_BT.shape) if batch.weights_BT is None else batch.weights_BT
        self.nats += nats
        self.tokens += float(weights_BT.sum())
        self.bytes += float((self.byte_lengths_V[batch.targets_BT] * weights_BT).sum())

    def score(self) -> Score:
        """Of all that was added; ValueError where that was no token."""
        if not self.tokens:
            raise ValueError("there is no token to score")
        return Score(self.nats / self.tokens, self.nats / math.log(2) / max(1.0, self.bytes))


def filled(batches: Iterable[TokenBatch], rows: int) -> Iterator[TokenBatch]:
    """The same batches cut and filled to `rows` rows each, so that they have one shape; what is filled in counts 0."""
    for batch in batches:
        weights_BT = batch.weights_BT
        if weights_BT is None:
            weights_BT = np.ones(batch.tokens_BT.shape, dtype=np.float32)
        whole = batch._replace(weights_BT=weights_BT)
        for first in range(0, len(batch.tokens_BT), rows):
            part = whole._replace(**{k: v[first : first + rows] for k, v in whole._asdict().items() if v is not None})
            yield _fill(part, rows - len(part.tokens_BT))


def _fill(batch: TokenBatch, missing: int) -> TokenBatch:
    room = ((0, missing), (0, 0))
    return batch._replace(**{key: np.pad(value, room) for key, value in batch._asdict().items() if value is not None})
