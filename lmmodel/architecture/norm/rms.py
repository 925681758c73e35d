"""Divides by the root of the mean square; no mean is taken off, no bias added.

Zhang and Sennrich, 2019, "Root Mean Square Layer Normalization". The zero-centred weight, which scales by 1 + weight
so that weight decay pulls towards doing nothing, is Gemma's; no weight at all is nanochat's.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from lmmodel.architecture.narrowing import rms_norm
from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """`epsilon` is added to the mean square."""

    epsilon: Positive = 1e-6
    weight: Literal["plain", "zero_centered", "none"] = "plain"


class Norm(nn.Module):
    """x / rms(x), scaled by a weight per channel, over the last dimension."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.epsilon = options.epsilon
        self.zero_centered = options.weight == "zero_centered"
        start = torch.zeros if self.zero_centered else torch.ones
        self.weight = None if options.weight == "none" else nn.Parameter(start(sizes.width))

    def forward(self, x: Tensor) -> Tensor:
        """The shape of `x`; statistics in float32 or wider."""
        if self.weight is None or not self.zero_centered:
            return rms_norm(x, self.weight, self.epsilon)
        wide = torch.promote_types(x.dtype, torch.float32)  # 1 + weight would be rounded away in bfloat16
        return rms_norm(x.to(wide), 1 + self.weight.to(wide), self.epsilon).to(x.dtype)
