"""Attention and feed-forward side by side, from one norm: shorter, and a little less able layer for layer.

Wang and Komatsuzaki, 2021 (GPT-J); Chowdhery and others, 2022, "PaLM". GPT-NeoX gives each part a norm of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.architecture.stream import Scalars, scalars, scaled
from lmmodel.params.settings import Settings


class Options(Settings):
    """`norms`: one that both parts share, or one each.

    scalars: learned numbers of a layer, times the stream that enters it; stream_and_first: and, added to that, times
    what entered the first layer.
    """

    norms: Literal["shared", "separate"] = "shared"
    scalars: Scalars = "none"


class Block(nn.Module):
    """x + attention(norm(x)) + feed_forward(norm(x)); a part that is None is left out."""

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
        both = attention is not None and feed_forward is not None
        self.norm = norm(sizes) if attention is not None or feed_forward is not None else None
        self.feed_forward_norm = norm(sizes) if both and options.norms == "separate" else None
        self.attention = attention
        self.feed_forward = feed_forward

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """The residual stream with what both parts add."""
        x_BTD = scaled(x_BTD, self.scalars, span)
        if self.norm is None:
            return x_BTD
        normed_BTD = self.norm(x_BTD)
        y_BTD = x_BTD
        if self.attention is not None:
            y_BTD = y_BTD + self.attention(normed_BTD, span)
        if self.feed_forward is not None:
            own_BTD = normed_BTD if self.feed_forward_norm is None else self.feed_forward_norm(x_BTD)
            y_BTD = y_BTD + self.feed_forward(own_BTD, span)
        return y_BTD
