"""Batches as a step takes them: some rows at once, as tensors on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from lmmodel.learning.loss import Batch

if TYPE_CHECKING:
    from lmmodel.text.batches import TokenBatch


class Batches(Protocol):
    """What a training learns from: batch n, always the same, and what it never learns from.

    One that has `where(step, row)` can say in words where in the text a row comes from.
    """

    @property
    def tokens_per_epoch(self) -> int: ...  # noqa: D102

    def batch(self, step: int) -> TokenBatch: ...  # noqa: D102

    def validation(self, tokens: int) -> Iterator[TokenBatch]: ...  # noqa: D102


def some(batch: TokenBatch, rows: slice) -> TokenBatch:
    """Some rows of a batch."""
    return batch._replace(**{name: array[rows] for name, array in batch._asdict().items() if array is not None})


def parts(batch: TokenBatch, rows: int, device: str) -> Iterator[Batch]:
    """All of a batch, so many `rows` at a time."""
    for first in range(0, len(batch.tokens_BT), rows):
        yield on_device(some(batch, slice(first, first + rows)), device)


def on_device(batch: TokenBatch, device: str) -> Batch:
    """A batch as tensors, weights always among them: so all batches share one compiled step."""
    weights_BT = batch.weights_BT
    if weights_BT is None:
        weights_BT = np.ones(batch.tokens_BT.shape, dtype=np.float32)
    whole = batch._replace(weights_BT=weights_BT)._asdict()
    return Batch(**{name: _tensor(array, device) for name, array in whole.items() if array is not None})


def weight(batch: TokenBatch) -> float:
    """How many tokens a batch counts for."""
    return float(batch.tokens_BT.size if batch.weights_BT is None else batch.weights_BT.sum())


def place(batches: Batches, number: int, row: int) -> str:
    """Where in the text a row of batch `number` comes from, where the batches can tell."""
    where = getattr(batches, "where", None)
    return f", {where(number, row)}" if where else ""


def _tensor(array: np.ndarray, device: str) -> Tensor:
    """Contiguous, always: a compiled step is for one layout."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
