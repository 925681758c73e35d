"""Turns pairs of a query's and a key's numbers by an angle that grows with the place: their product sees the distance.

Su and others, 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding". Numbers are paired as in Hugging
Face's Llama, the first half with the second, so that weights map one to one; a fraction below 1 leaves the last ones
as they are, as in GPT-NeoX.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Fraction, Positive, Settings


class Options(Settings):
    """Pair i of n turns by theta ** (-i / n) radians a place; `fraction` of each head turns."""

    theta: Positive = 10_000.0
    fraction: Fraction = 1.0

    def complete(self, sizes: Sizes) -> Options:
        """The same; ValueError where what turns is not a whole number of pairs."""
        width = sizes.head_width * self.fraction
        if width != int(width) or int(width) % 2 or not width:
            raise ValueError(
                f"turns pairs of numbers, but fraction {self.fraction:g} of head width "
                f"{sizes.head_width} is {width:g}, which is not an even number"
            )
        return self


class Position(nn.Module):
    """Acts on queries and keys, each head alike."""

    acts_on: ClassVar[str] = "queries and keys"
    bias = None

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.theta, self.fraction = options.theta, options.fraction

    def embed(self, x_BTD: Tensor, positions_BT: Tensor) -> Tensor:
        """The identity."""
        return x_BTD

    def rotate(self, x_BTHK: Tensor, positions_BT: Tensor) -> Tensor:
        """`x_BTHK` turned; the angles are in float32 or wider, whatever `x_BTHK` is."""
        turned = int(x_BTHK.size(-1) * self.fraction)
        cos_BT1P, sin_BT1P = self._table(positions_BT, turned // 2, x_BTHK.dtype)
        first, second, rest = x_BTHK.split([turned // 2, turned // 2, x_BTHK.size(-1) - turned], dim=-1)
        parts = [first * cos_BT1P - second * sin_BT1P, second * cos_BT1P + first * sin_BT1P]
        return torch.cat([*parts, rest] if rest.size(-1) else parts, dim=-1)

    def _table(self, positions_BT: Tensor, pairs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(dtype, torch.float32)
        exponents_P = torch.arange(pairs, device=positions_BT.device, dtype=wide) / pairs
        angles_BT1P = positions_BT[:, :, None, None] * self.theta**-exponents_P
        return angles_BT1P.cos().to(dtype), angles_BT1P.sin().to(dtype)
