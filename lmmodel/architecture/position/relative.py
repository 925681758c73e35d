"""A learned number for each head and each bucket of distances, added to the score: near ones apart, far ones together.

Raffel and others, 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (T5). T5
scales no scores and shares one table among all layers; here they are scaled, and each layer has a table of its own.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Count, Settings


class Options(Settings):
    """Half of the `buckets` hold one distance each; the rest grow in a geometric row to `furthest`, and beyond it."""

    buckets: Count = 32
    furthest: Count = 128

    def complete(self, sizes: Sizes) -> Options:
        """The same; ValueError where the buckets are no two halves, or end before the second begins."""
        if self.buckets % 2:
            raise ValueError(f"splits its buckets in half, and {self.buckets} is not an even number")
        if self.furthest <= self.buckets // 2:
            raise ValueError(f"has {self.buckets // 2} buckets of one distance each, so furthest should be larger")
        return self


class Position(nn.Module):
    """A table of [buckets, heads]. Acts on scores."""

    acts_on: ClassVar[str] = "scores"

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.furthest = options.furthest
        self.table = nn.Embedding(options.buckets, sizes.heads)

    def embed(self, x_BTD: Tensor, positions_BT: Tensor) -> Tensor:
        """The identity."""
        return x_BTD

    def rotate(self, x_BTHK: Tensor, positions_BT: Tensor) -> Tensor:
        """The identity."""
        return x_BTHK

    def bias(self, head: Tensor, distance: Tensor) -> Tensor:
        """What is added to the scaled score of a key that lies `distance` tokens back."""
        return self.table.weight[self._bucket(distance), head]

    def _bucket(self, distance: Tensor) -> Tensor:
        buckets = self.table.num_embeddings
        exact = buckets // 2
        octaves = torch.log(distance.clamp(min=exact) / exact) / math.log(self.furthest / exact)
        coarse = exact + (octaves * (buckets - exact)).long()
        return torch.where(distance < exact, distance.clamp(min=0), coarse.clamp(max=buckets - 1))
