"""A norm after each part and around the residual stream: the first transformer's block.

Vaswani and others, 2017, "Attention Is All You Need". What leaves a layer is normed, so the model norms no last time;
deep stacks of it need a slow start (Xiong and others, 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose."""


class Block(nn.Module):
    """norm(x + attention(x)), then norm(x + feed_forward(x)); a part that is None is left out with its norm."""

    ends_normed: ClassVar[bool] = True

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
        self.attention = attention
        self.attention_norm = norm(sizes) if attention is not None else None
        self.feed_forward = feed_forward
        self.feed_forward_norm = norm(sizes) if feed_forward is not None else None

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """The residual stream with what both parts add, normed."""
        if self.attention is not None and self.attention_norm is not None:
            x_BTD = self.attention_norm(x_BTD + self.attention(x_BTD, span))
        if self.feed_forward is not None and self.feed_forward_norm is not None:
            x_BTD = self.feed_forward_norm(x_BTD + self.feed_forward(x_BTD, span))
        return x_BTD
