"""Takes off the mean and divides by the standard deviation.

Ba, Kiros and Hinton, 2016, "Layer Normalization".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """`epsilon` is added to the variance."""

    epsilon: Positive = 1e-5
    bias: bool = True


class Norm(nn.Module):
    """(x - mean) / deviation, scaled and shifted per channel, over the last dimension."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.epsilon = options.epsilon
        self.weight = nn.Parameter(torch.ones(sizes.width))
        self.bias = nn.Parameter(torch.zeros(sizes.width)) if options.bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The shape of `x`; statistics in float32 or wider."""
        return F.layer_norm(x, (x.size(-1),), self.weight, self.bias, self.epsilon).to(x.dtype)
