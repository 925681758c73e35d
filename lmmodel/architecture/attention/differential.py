"""The difference of two softmaxes: what both attend to, mostly noise, cancels.

Ye and others, 2024, "Differential Transformer". Each head of the model is one pair of them: its queries and keys are
split in half, its values are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lmmodel.architecture.attend import attend
from lmmodel.architecture.heads import Heads
from lmmodel.architecture.narrowing import OutNorm
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Positive


class Options(Heads):
    """Key-value heads and window as in multi_head. epsilon: of the norm over each head's values, before the output."""

    bias: bool = False
    epsilon: Positive = 1e-5

    def complete(self, sizes: Sizes) -> Options:
        """With kv_heads and window as numbers; ValueError where they do not fit the heads or one another."""
        if sizes.head_width % 2:
            raise ValueError(f"splits heads in half, and head width {sizes.head_width} is not an even number")
        return self.numbered(sizes)

    def positioned(self, sizes: Sizes) -> Sizes:
        """What the position is told: each half of a head turns by itself."""
        return replace(sizes, head_width=sizes.head_width // 2)


class Attention(nn.Module):
    """norm(attend(first halves) - share * attend(second halves)), out; deep layers take off more."""

    honours: ClassVar[frozenset[str]] = frozenset({"queries and keys", "scores"})

    def __init__(
        self, options: Options, sizes: Sizes, *, position: Callable[[Sizes], Any], norm: Callable[[Sizes], Any]
    ) -> None:
        super().__init__()
        told = options.complete(sizes)
        assert told.kv_heads is not None
        self.head_width, self.half_width, self.window = sizes.head_width, sizes.head_width // 2, told.window
        self.first_share = 0.8 - 0.6 * math.exp(-0.3 * sizes.layer)
        queries, keys = sizes.heads * sizes.head_width, told.kv_heads * sizes.head_width
        self.query = nn.Linear(sizes.width, queries, bias=told.bias)
        self.key = nn.Linear(sizes.width, keys, bias=told.bias)
        self.value = nn.Linear(sizes.width, keys, bias=told.bias)
        self.out = nn.Linear(queries, sizes.width, bias=told.bias)
        self.position = position(told.positioned(sizes))
        self.share_query_2K = nn.Parameter(torch.empty(2, self.half_width))
        self.share_key_2K = nn.Parameter(torch.empty(2, self.half_width))
        self.out_norm = OutNorm(sizes.head_width, eps=told.epsilon)

    def initialise(self, generator: torch.Generator) -> None:
        """Normal with deviation 0.1, the paper's: the share starts near its first value."""
        for parameter in (self.share_query_2K, self.share_key_2K):
            parameter.copy_(torch.empty(2, self.half_width).normal_(0, 0.1, generator=generator))

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """Each token of `x_BTD` mixed with what it sees."""
        q_BTHK, k_BTGK = self._turned(self.query(x_BTD), span), self._turned(self.key(x_BTD), span)
        v_BTGV = self.value(x_BTD).unflatten(-1, (-1, self.head_width))
        k_BSGK, v_BSGV = span.extend(self, k_BTGK, v_BTGV, last=self.window)
        signal_BTHV, noise_BTHV = (
            attend(q, k, v_BSGV, span, window=self.window, bias=self.position.bias)
            for q, k in zip(q_BTHK.split(self.half_width, dim=-1), k_BSGK.split(self.half_width, dim=-1), strict=True)
        )
        y_BTHV = self.out_norm(signal_BTHV - self._share().to(noise_BTHV.dtype) * noise_BTHV)
        return self.out((y_BTHV * (1 - self.first_share)).flatten(2))

    def _turned(self, x_BTN: Tensor, span: Span) -> Tensor:
        """Heads whose two halves are rotated alike."""
        halves_BTNK = self.position.rotate(x_BTN.unflatten(-1, (-1, self.half_width)), span.positions_BT)
        return halves_BTNK.flatten(2).unflatten(-1, (-1, self.head_width))

    def _share(self) -> Tensor:
        """How much of the second softmax is taken off; learned as a difference of two exponentials."""
        wide = torch.promote_types(self.share_key_2K.dtype, torch.float32)
        more, less = (self.share_query_2K.to(wide) * self.share_key_2K.to(wide)).sum(-1).exp()
        return more - less + self.first_share
