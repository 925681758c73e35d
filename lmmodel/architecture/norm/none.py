"""No norm: what goes in comes out. For designs that keep sizes in hand by other means.

Zhang, Dauphin and Ma, 2019, "Fixup Initialization: Residual Learning Without Normalization".
"""

from __future__ import annotations

from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose."""


class Norm(nn.Module):
    """The identity."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """`x` itself."""
        return x
