"""A norm on what each part gives, inside the residual: the parts read the stream as it is.

Liu and others, 2021, "Swin Transformer V2"; Team OLMo, 2024, "2 OLMo 2 Furious", whose training it made stable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.architecture.stream import Scalars, scalars, scaled
from lmmodel.params.settings import Settings


class Options(Settings):
    """`scalars`: a learned number of each layer, times the stream that enters it. stream_and_first: and one more, times
    what entered the first layer, added.
    """

    scalars: Scalars = "none"


class Block(nn.Module):
    """x + norm(attention(x)), then x + norm(feed_forward(x)); a part that is None is left out with its norm."""

    ends_normed: ClassVar[bool] = False

    def __init__(
        self,
        options: Options,
        sizes: Sizes,
        *,
        attention: nn.Module | None,
        feed_forward: nn.Module | None,
        norm: Callable[[Sizes], nn.Module],
    ) -> None:
        super().__init__()
        self.scalars = scalars(options.scalars)
        self.attention = attention
        self.attention_norm = norm(sizes) if attention is not None else None
        self.feed_forward = feed_forward
        self.feed_forward_norm = norm(sizes) if feed_forward is not None else None

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """The residual stream with what both parts add."""
        x_BTD = scaled(x_BTD, self.scalars, span)
        if self.attention is not None and self.attention_norm is not None:
            x_BTD = x_BTD + self.attention_norm(self.attention(x_BTD, span))
        if self.feed_forward is not None and self.feed_forward_norm is not None:
            x_BTD = x_BTD + self.feed_forward_norm(self.feed_forward(x_BTD, span))
        return x_BTD
