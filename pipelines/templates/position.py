"""Scores fall with the logarithm of the distance, each head's as steeply as it learns. (One line, for the menu.)

Here the idea: why it should help, and its source (author, year, paper). In params.yaml it is
`position: {kind: experiments/NAME.py, steepness: 1.0}`; after every change, `lmmodel check experiments/NAME.py`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """steepness: of head 0 at first, half as much of each next. Every option has a default, and a line here."""

    steepness: Positive = 1.0


class Position(nn.Module):
    """All three verbs are there; the two that are not `acts_on` do nothing."""

    acts_on: ClassVar[str] = "scores"  # or "queries and keys" (rotate), "embedding" (embed), "nothing"

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.steepness_H = nn.Parameter(options.steepness * 0.5 ** torch.arange(sizes.heads))

    def embed(self, x_BTD: Tensor, positions_BT: Tensor) -> Tensor:
        """What is added to a token by its place in its document: nothing."""
        return x_BTD

    def rotate(self, x_BTHK: Tensor, positions_BT: Tensor) -> Tensor:
        """Queries or keys, turned by their place: as they are."""
        return x_BTHK

    def bias(self, head: Tensor, distance: Tensor) -> Tensor:
        """What is added to a score over `distance` tokens. `bias = None` where scores are left alone."""
        back = distance.clamp(min=0)  # keys that come later are asked about too, and masked: no logarithm of theirs
        return -self.steepness_H[head] * torch.log1p(back.to(self.steepness_H.dtype))
