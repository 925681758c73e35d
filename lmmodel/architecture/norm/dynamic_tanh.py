"""No statistics: a tanh of learned steepness keeps numbers in hand, token by token and channel by channel.

Zhu and others, 2025, "Transformers without Normalization".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """`steepness` is the first slope at 0; wide models want less before feed-forwards than before attention."""

    steepness: Positive = 0.5


class Norm(nn.Module):
    """tanh(steepness * x), scaled and shifted per channel, over the last dimension."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.steepness = nn.Parameter(torch.full((1,), options.steepness))
        self.weight = nn.Parameter(torch.ones(sizes.width))
        self.bias = nn.Parameter(torch.zeros(sizes.width))

    def forward(self, x: Tensor) -> Tensor:
        """The shape of `x`."""
        return (torch.tanh(self.steepness * x) * self.weight + self.bias).to(x.dtype)
