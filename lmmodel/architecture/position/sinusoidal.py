"""Waves of growing length, added to the embedding: nothing is learned, and no place is the last.

Vaswani and others, 2017, "Attention Is All You Need".
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """Numbers 2i and 2i + 1 of n are sine and cosine of the place times theta ** (-2i / n)."""

    theta: Positive = 10_000.0

    def complete(self, sizes: Sizes) -> Options:
        """The same; ValueError where the width is not a whole number of pairs."""
        if sizes.width % 2:
            raise ValueError(f"adds pairs of waves, and width {sizes.width} is not an even number")
        return self


class Position(nn.Module):
    """Acts on the embedding."""

    acts_on: ClassVar[str] = "embedding"
    bias = None

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.theta = options.theta

    def embed(self, x_BTD: Tensor, positions_BT: Tensor) -> Tensor:
        """`x_BTD` plus each place's waves; the angles are in float32 or wider, whatever `x_BTD` is."""
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        exponents_P = torch.arange(0, x_BTD.size(-1), 2, device=x_BTD.device, dtype=wide) / x_BTD.size(-1)
        angles_BTP = positions_BT[:, :, None] * self.theta**-exponents_P
        waves_BTD = torch.stack([angles_BTP.sin(), angles_BTP.cos()], dim=-1).flatten(-2)
        return x_BTD + waves_BTD.to(x_BTD.dtype)

    def rotate(self, x_BTHK: Tensor, positions_BT: Tensor) -> Tensor:
        """The identity."""
        return x_BTHK
