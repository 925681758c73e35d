"""No position at all: a causal mixer can tell order by what it is able to see.

Kazemnejad and others, 2023, "The Impact of Positional Encoding on Length Generalization in Transformers".
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose."""


class Position(nn.Module):
    """The identity."""

    acts_on: ClassVar[str] = "nothing"
    bias = None

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()

    def embed(self, x_BTD: Tensor, positions_BT: Tensor) -> Tensor:
        """The identity."""
        return x_BTD

    def rotate(self, x_BTHK: Tensor, positions_BT: Tensor) -> Tensor:
        """The identity."""
        return x_BTHK
