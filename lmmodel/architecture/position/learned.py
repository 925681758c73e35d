"""One learned vector for each place, added to the embedding: what GPT-2 does.

Gehring and others, 2017, "Convolutional Sequence to Sequence Learning"; Radford and others, 2019 (GPT-2). The table
ends with the context: a model with it cannot go on beyond.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose: the table has a row for each place of the context."""


class Position(nn.Module):
    """A table of [context, width]."""

    acts_on: ClassVar[str] = "embedding"
    bias = None

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.table = nn.Embedding(sizes.context, sizes.width)

    def embed(self, x_BTD: Tensor, positions_BT: Tensor) -> Tensor:
        """`x_BTD` plus each place's vector; a place beyond the context is an IndexError."""
        return x_BTD + self.table(positions_BT)

    def rotate(self, x_BTHK: Tensor, positions_BT: Tensor) -> Tensor:
        """The identity."""
        return x_BTHK
