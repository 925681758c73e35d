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
        cos_BT1P, sin_BT1P = self._table(positions_BT, turned // 2, torch.promote_types(x_BTHK.dtype, torch.float32))
        first, second, rest = x_BTHK.split([turned // 2, turned // 2, x_BTHK.size(-1) - turned], dim=-1)
        parts = (first * cos_BT1P - second * sin_BT1P, second * cos_BT1P + first * sin_BT1P, rest)
        return torch.cat([part.to(x_BTHK.dtype) for part in parts if part.size(-1)], dim=-1)

    def _table(self, positions_BT: Tensor, pairs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        exponents_P = torch.arange(pairs, device=positions_BT.device, dtype=dtype) / pairs
        angles_BT1P = positions_BT[:, :, None, None] * (1.0 / self.theta**exponents_P)
        return _stored(angles_BT1P.cos()), _stored(angles_BT1P.sin())


def _stored(table: Tensor) -> Tensor:
    """The same tensor, which a compiler must write down: one table serves every layer, head and row.

    Inductor would compute sines anew for each number that turns, which took three times as long as the turning.
    """
    return table.as_strided(table.shape, table.stride())
