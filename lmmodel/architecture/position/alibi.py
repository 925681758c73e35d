"""Scores fall with the distance in a straight line, each head's at a slope of its own; nothing is learned.

Press, Smith and Lewis, 2021, "Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation".
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose: the slopes follow from the number of heads."""


class Position(nn.Module):
    """Acts on scores: minus slope times distance."""

    acts_on: ClassVar[str] = "scores"

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads

    def embed(self, x_BTD: Tensor, positions_BT: Tensor) -> Tensor:
        """The identity."""
        return x_BTD

    def rotate(self, x_BTHK: Tensor, positions_BT: Tensor) -> Tensor:
        """The identity."""
        return x_BTHK

    def bias(self, head: Tensor, distance: Tensor) -> Tensor:
        """What is added to the scaled score of a key that lies `distance` tokens back."""
        return -slopes(head, self.heads) * distance


def slopes(head: Tensor, heads: int) -> Tensor:
    """2 ** (-8 / n), 2 ** (-16 / n), ... for the largest power of two n in `heads`; those left lie between, from 2n's.

    Computed from the head's number rather than looked up, so that a fused kernel can take it in.
    """
    whole = 1 << (heads.bit_length() - 1)
    return torch.exp2(-torch.where(head < whole, 8 * (head + 1), 8 * (head - whole) + 4) / whole)
