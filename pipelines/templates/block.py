"""A norm before each part, and a learned share of what it gives. (One line: what yours does, for the menu.)

Here the idea: why it should help, and its source (author, year, paper). In params.yaml it is
`block: {kind: experiments/NAME.py, share: 1.0}`; after every change, `lmmodel check experiments/NAME.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """share: of what a part gives, at first. Every option has a default, and a line here."""

    share: Positive = 1.0


class Block(nn.Module):
    """x + share * part(norm(x)), for attention and then feed-forward; a part that is None is left out."""

    ends_normed: ClassVar[bool] = False  # True where what leaves a layer is normed: then the model norms no last time

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
        self.attention, self.feed_forward = attention, feed_forward
        self.attention_norm = norm(sizes) if attention is not None else None
        self.feed_forward_norm = norm(sizes) if feed_forward is not None else None
        self.attention_share_D = _share(options, sizes) if attention is not None else None
        self.feed_forward_share_D = _share(options, sizes) if feed_forward is not None else None

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """The residual stream with what both parts add: [B, T, D] in and out."""
        if self.attention is not None and self.attention_norm is not None:
            x_BTD = x_BTD + self.attention_share_D * self.attention(self.attention_norm(x_BTD), span)
        if self.feed_forward is not None and self.feed_forward_norm is not None:
            x_BTD = x_BTD + self.feed_forward_share_D * self.feed_forward(self.feed_forward_norm(x_BTD), span)
        return x_BTD


def _share(options: Options, sizes: Sizes) -> nn.Parameter:
    return nn.Parameter(torch.full((sizes.width,), options.share))
