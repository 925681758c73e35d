"""Up, a bend that each number learns for itself, down. (One line: what yours does, for the menu.)

Here the idea: why it should help, and its source (author, year, paper). In params.yaml it is
`feed_forward: {kind: experiments/NAME.py, expansion: 4}`; after every change, `lmmodel check experiments/NAME.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Count, Settings


class Options(Settings):
    """expansion: the inner width in widths of the model. Every option has a default, and a line here."""

    expansion: Count = 4


class FeedForward(nn.Module):
    """out(x * sigmoid(steepness * x)) of up(x)."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        hidden = options.expansion * sizes.width
        self.up = nn.Linear(sizes.width, hidden, bias=False)
        self.steepness_F = nn.Parameter(torch.ones(hidden))
        self.out = nn.Linear(hidden, sizes.width, bias=False)  # this name: it writes to the residual stream

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """Each token by itself: [B, T, D] in and out."""
        up_BTF = self.up(x_BTD)
        return self.out(up_BTF * torch.sigmoid(self.steepness_F * up_BTF))
