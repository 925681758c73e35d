"""Divides by the mean of the absolute numbers. (One line: what yours does, for the menu.)

Here the idea: why it should help, and its source (author, year, paper). In params.yaml it is
`norm: {kind: experiments/NAME.py, epsilon: 1e-6}`; after every change, `lmmodel check experiments/NAME.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """epsilon: added to the mean. Every option has a default, and a line here."""

    epsilon: Positive = 1e-6


class Norm(nn.Module):
    """x / mean |x|, scaled per channel, over the last dimension and no other."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.epsilon = options.epsilon
        self.weight = nn.Parameter(torch.ones(sizes.width))

    def forward(self, x: Tensor) -> Tensor:
        """The shape and type of `x`, which may have any number of dimensions; statistics in float32 or wider."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        normed = wide / (wide.abs().mean(dim=-1, keepdim=True) + self.epsilon)
        return normed.to(x.dtype) * self.weight
