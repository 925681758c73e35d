"""One product gates another: bend(gate(x)) times up(x). With silu it is SwiGLU, with gelu GeGLU.

Shazeer, 2020, "GLU Variants Improve Transformer".
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from lmmodel.architecture.activation import ACTIVATIONS
from lmmodel.architecture.inner import expanded
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Count, Positive, Settings


class Options(Settings):
    """The inner width is `hidden`, or `expansion` times the width (8/3 where neither is given: plain's 4 in size)."""

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("hidden", "expansion"),)

    activation: Literal["relu", "relu_squared", "gelu", "gelu_tanh", "silu"] = "silu"
    hidden: Count | None = None
    expansion: Positive | None = None
    bias: bool = False

    def complete(self, sizes: Sizes) -> Options:
        """With `hidden` as a number: `expansion` times the width, to the next multiple of 8 where that is broken."""
        hidden = self.hidden or expanded(sizes.width, self.expansion or 8 / 3)
        return self.model_copy(update={"hidden": hidden, "expansion": None})


class FeedForward(nn.Module):
    """out(bend(gate(x)) * up(x))."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        hidden = options.complete(sizes).hidden
        assert hidden is not None
        self.bend = ACTIVATIONS[options.activation]
        self.gate = nn.Linear(sizes.width, hidden, bias=options.bias)
        self.up = nn.Linear(sizes.width, hidden, bias=options.bias)
        self.out = nn.Linear(hidden, sizes.width, bias=options.bias)

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """Each token by itself."""
        return self.out(self.bend(self.gate(x_BTD)) * self.up(x_BTD))
