"""Softmax attention in which each head learns how sharply it chooses. (One line: what yours does, for the menu.)

Here the idea: why it should help, and its source (author, year, paper). In params.yaml it is
`attention: {kind: experiments/NAME.py, sharpness: 1.0}`; after every change, `lmmodel check experiments/NAME.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lmmodel.architecture.attend import attend
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """sharpness: what scores are multiplied by, at first. Every option has a default, and a line here."""

    sharpness: Positive = 1.0


class Attention(nn.Module):
    """Query, key, value, out. It takes positions that turn queries and keys, and those that add to scores."""

    honours: ClassVar[frozenset[str]] = frozenset({"queries and keys", "scores"})

    def __init__(
        self, options: Options, sizes: Sizes, *, position: Callable[[Sizes], Any], norm: Callable[[Sizes], Any]
    ) -> None:
        super().__init__()
        inner = sizes.heads * sizes.head_width
        self.query, self.key, self.value = (nn.Linear(sizes.width, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, sizes.width, bias=False)  # this name: it writes to the residual stream
        self.sharpness_H1 = nn.Parameter(torch.full((sizes.heads, 1), options.sharpness))
        self.position, self.heads = position(sizes), sizes.heads

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """Each token mixed with what it sees: [B, T, D] in and out."""
        q_BTHK, k_BTHK, v_BTHK = (
            part(x_BTD).unflatten(-1, (self.heads, -1)) for part in (self.query, self.key, self.value)
        )
        # Positions come from the span, never from torch.arange: they count from the start of each document.
        q_BTHK, k_BTHK = (self.position.rotate(x, span.positions_BT) for x in (q_BTHK, k_BTHK))
        k_BSHK, v_BSHK = span.extend(self, k_BTHK, v_BTHK)  # with what was remembered, while decoding
        # attend knows who sees whom, and takes the fastest kernel; bias=f(head, distance) adds a score of your own.
        y_BTHK = attend(q_BTHK * self.sharpness_H1, k_BSHK, v_BSHK, span, bias=self.position.bias)
        return self.out(y_BTHK.flatten(2))
