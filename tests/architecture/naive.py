"""Attention in plain loops, and passes to put to it: what every way to attend is held against."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lmmodel.architecture.span import Span
from lmmodel.architecture.state import State
from tests.architecture.properties import error

DOCUMENTS = torch.tensor([[0] * 5 + [1] * 13, [3] + [0] * 17])
"""Of two rows of 18 tokens."""


def naive(q_BTHK, k_BSGK, v_BSGV, sees, *, bias=None, scale=None, softcap=None, sink_H=None):
    """One query at a time; `sees(b, t, s)` says whether token t of the pass sees the s-th key."""
    B, T, H, K = q_BTHK.shape
    S, G = k_BSGK.shape[1:3]
    rows = []
    for b in range(B):
        for t in range(T):
            seen = [s for s in range(S) if sees(b, t, s)]
            for h in range(H):
                g = h // (H // G)
                scores = (k_BSGK[b, seen, g] @ q_BTHK[b, t, h]) * (scale or 1 / math.sqrt(K))
                if softcap is not None:
                    scores = softcap * torch.tanh(scores / softcap)
                if bias is not None:
                    distances = torch.tensor([t + S - T - s for s in seen])
                    scores = scores + bias(torch.tensor(h), distances)
                if sink_H is not None:
                    scores = torch.cat([scores, sink_H[h : h + 1]])
                rows.append(scores.softmax(0)[: len(seen)] @ v_BSGV[b, seen, g])
    return torch.stack(rows).view(B, T, H, -1)


def tensors(T: int, S: int, *, heads: int = 4, groups: int = 2, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, T, heads, 8), (batch, S, groups, 8), (batch, S, groups, 6))
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes)


def span_of(T: int, S: int, documents_BS: Tensor | None = None) -> Span:
    """A pass over T tokens after S - T others, or over all of them with documents."""
    if S == T:
        return Span(torch.zeros(2, T, dtype=torch.int64), documents_BT=documents_BS)
    state = State(2, S)
    Span(
        torch.zeros(2, S - T, dtype=torch.int64),
        documents_BT=None if documents_BS is None else documents_BS[:, :-T],
        state=state,
    )
    state.length = S - T
    rest = None if documents_BS is None else documents_BS[:, -T:]
    return Span(torch.zeros(2, T, dtype=torch.int64), documents_BT=rest, state=state)


def assert_equal(ours: Tensor, theirs: Tensor, leaves: tuple[Tensor, ...]) -> None:
    """Values and gradients."""
    assert error(ours, theirs) < 1e-12
    weights = torch.linspace(-1, 1, ours.numel(), dtype=ours.dtype).view_as(ours)
    for one, other in zip(*(torch.autograd.grad((y * weights).sum(), leaves) for y in (ours, theirs)), strict=True):
        assert error(one, other) < 1e-12
