"""What a model is trained to make small, as a module of its own: it is this that is compiled and trained.

The nats of the next tokens are summed, never averaged: so neither the size of a micro-batch nor the number of
processes changes what a step follows, and the trainer divides once by the tokens of the whole batch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model

CHUNK_LOGITS = 2**26
"""Logits that may exist at once; above it they are computed, and computed again for the backward pass, in chunks."""
AHEAD_WEIGHT = 0.3
"""Of a token further ahead against the next one, as DeepSeek-V3 began with."""


class Batch(NamedTuple):
    """Rows of T tokens, each with the token that follows it.

    documents_BT: equal numbers see one another; None: a row is one document. weights_BT: how much each target counts,
    0 for one that is not learnt from; None: 1 for all.
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    documents_BT: Tensor | None = None
    weights_BT: Tensor | None = None


class Losses(NamedTuple):
    """Sums over a batch. `total` is what to descend; `nats` those of the next tokens alone, over `tokens` of weight."""

    total: Tensor
    nats: Tensor
    tokens: Tensor
    reports: dict[str, Tensor]


class Objective(nn.Module):
    """Cross-entropy of the next token, of those further ahead where the model predicts them, and components' losses.

    A component's loss is per row and counts as often as the row has tokens: it too does not depend on how rows are
    put together.
    """

    def __init__(self, model: Model, *, precision: str = "float32") -> None:
        super().__init__()
        self.model, self._narrows = model, precision == "autocast"

    def forward(self, batch: Batch) -> Losses:
        """The batch's losses; logits for all of it never exist where that would be much."""
        tokens_BT, targets_BT, documents_BT, weights_BT = batch
        if weights_BT is None:
            weights_BT = torch.ones_like(tokens_BT, dtype=torch.float32)
        with self._computing(tokens_BT.device):
            trace = self.model.trace(tokens_BT, documents_BT=documents_BT, ahead=True)
        nats = self._nats(trace.hidden_BTD, targets_BT, weights_BT)
        total = nats
        for further, ahead_BTD in enumerate(trace.ahead, 1):
            weights = _further(weights_BT, documents_BT, further)
            total = total + AHEAD_WEIGHT * self._nats(ahead_BTD[:, :-further], targets_BT[:, further:], weights)
        for loss_B in trace.losses.values():
            total = total + (loss_B * weights_BT.sum(dim=1)).sum()
        return Losses(total, nats.detach(), weights_BT.sum(), trace.reports)

    def _nats(self, hidden_BTD: Tensor, targets_BT: Tensor, weights_BT: Tensor) -> Tensor:
        hidden_ND, targets_N, weights_N = hidden_BTD.flatten(0, 1), targets_BT.flatten(), weights_BT.flatten()
        vocabulary = self.model.unembedding_VD.size(0)
        size = max(1, CHUNK_LOGITS // vocabulary)
        if len(targets_N) <= size:
            return self._chunk(hidden_ND, targets_N, weights_N)
        parts = zip(hidden_ND.split(size), targets_N.split(size), weights_N.split(size), strict=True)
        return torch.stack([checkpoint(self._chunk, *part, use_reentrant=False) for part in parts]).sum()

    def _chunk(self, hidden_ND: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
        with self._computing(hidden_ND.device):
            logits_NV = self.model.logits(hidden_ND)
        wide = torch.promote_types(logits_NV.dtype, torch.float32)
        return F.cross_entropy(logits_NV.to(wide), targets_N, reduction="none") @ weights_N.to(wide)

    def _computing(self, device: torch.device) -> AbstractContextManager[object]:
        """Inside, the model computes as the precision has it. Sums over tokens stay outside: autocast narrows them."""
        return torch.autocast(device.type, torch.bfloat16) if self._narrows else nullcontext()


def _further(weights_BT: Tensor, documents_BT: Tensor | None, further: int) -> Tensor:
    """How much the targets `further` tokens beyond the next count: not where another document has begun."""
    weights = weights_BT[:, further:]
    if documents_BT is None:
        return weights
    return weights * (documents_BT[:, further:] == documents_BT[:, :-further])
