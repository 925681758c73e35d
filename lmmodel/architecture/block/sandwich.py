"""A norm before each part and another on what it gives.

Ding and others, 2021, "CogView: Mastering Text-to-Image Generation via Transformers"; Gemma 2 and 3 (Google, 2024).
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
    """x + norm(attention(norm(x))), then the same with the feed-forward; a part that is None is left out with both."""

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
        if attention is not None:
            self.attention_norm, self.attention_out_norm = norm(sizes), norm(sizes)
        self.feed_forward = feed_forward
        if feed_forward is not None:
            self.feed_forward_norm, self.feed_forward_out_norm = norm(sizes), norm(sizes)

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """The residual stream with what both parts add."""
        x_BTD = scaled(x_BTD, self.scalars, span)
        if self.attention is not None:
            x_BTD = x_BTD + self.attention_out_norm(self.attention(self.attention_norm(x_BTD), span))
        if self.feed_forward is not None:
            x_BTD = x_BTD + self.feed_forward_out_norm(self.feed_forward(self.feed_forward_norm(x_BTD), span))
        return x_BTD
