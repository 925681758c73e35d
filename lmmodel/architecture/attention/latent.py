"""Keys and values of all heads from one narrow vector a token: that vector alone is remembered.

DeepSeek-AI, 2024, "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model" (multi-head
latent attention). Positions turn a part of their own, whose key all heads share. So what makes the rest of a key can be
folded into the query, and a step of decoding attends to the vectors themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lmmodel.architecture.attend import attend
from lmmodel.architecture.heads import times_head_width
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Count, Positive, Settings


class Options(Settings):
    """Ranks and widths as numbers, or as ratios to the head width (kv_rank 4 and rotary_width 1/2 where none is given).

    kv_rank: of the vector that is remembered. query_rank: queries come from a vector so narrow too; straight from the
    token where neither it nor its ratio is given. rotary_width: of the part that positions turn, beside the head width.
    scale: of the products, 1 / sqrt(head width + rotary_width) unless told.
    """

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("kv_rank", "kv_rank_ratio"),
        ("query_rank", "query_rank_ratio"),
        ("rotary_width", "rotary_ratio"),
    )

    kv_rank: Count | None = None
    kv_rank_ratio: Positive | None = None
    query_rank: Count | None = None
    query_rank_ratio: Positive | None = None
    rotary_width: Count | None = None
    rotary_ratio: Positive | None = None
    scale: Positive | None = None

    def complete(self, sizes: Sizes) -> Options:
        """With numbers in place of ratios; ValueError where one comes to a fraction, or what turns is not in pairs."""
        kv_rank = self.kv_rank or times_head_width("kv_rank_ratio", self.kv_rank_ratio or 4.0, sizes)
        rotary_width = self.rotary_width or times_head_width("rotary_ratio", self.rotary_ratio or 0.5, sizes)
        query_rank = self.query_rank
        if self.query_rank_ratio is not None:
            query_rank = times_head_width("query_rank_ratio", self.query_rank_ratio, sizes)
        if rotary_width % 2:
            raise ValueError(f"turns pairs of numbers, and rotary_width {rotary_width} is not an even number")
        told = {"kv_rank": kv_rank, "query_rank": query_rank, "rotary_width": rotary_width}
        return self.model_copy(update={**told, "kv_rank_ratio": None, "query_rank_ratio": None, "rotary_ratio": None})

    def positioned(self, sizes: Sizes) -> Sizes:
        """What the position is told: a head is as wide as the part that turns."""
        return sizes if self.rotary_width is None else replace(sizes, head_width=self.rotary_width)


class Attention(nn.Module):
    """It remembers kv_rank + rotary_width numbers a token, whatever the heads."""

    honours: ClassVar[frozenset[str]] = frozenset({"queries and keys", "scores"})

    def __init__(
        self, options: Options, sizes: Sizes, *, position: Callable[[Sizes], Any], norm: Callable[[Sizes], Any]
    ) -> None:
        super().__init__()
        told = options.complete(sizes)
        assert told.kv_rank is not None
        assert told.rotary_width is not None
        self.heads, self.head_width, self.rotary_width = sizes.heads, sizes.head_width, told.rotary_width
        self.rank, self.scale = told.kv_rank, told.scale or (sizes.head_width + told.rotary_width) ** -0.5
        inner, rank = sizes.heads * sizes.head_width, told.query_rank
        self.query_compress = nn.Linear(sizes.width, rank, bias=False) if rank else None
        self.query_norm = norm(replace(sizes, width=rank)) if rank else None
        self.query = nn.Linear(rank or sizes.width, inner + sizes.heads * told.rotary_width, bias=False)
        self.compress = nn.Linear(sizes.width, told.kv_rank, bias=False)
        self.compress_norm = norm(replace(sizes, width=told.kv_rank))
        self.rotary_key = nn.Linear(sizes.width, told.rotary_width, bias=False)
        self.key = nn.Linear(told.kv_rank, inner, bias=False)
        self.value = nn.Linear(told.kv_rank, inner, bias=False)
        self.out = nn.Linear(inner, sizes.width, bias=False)
        self.position = position(told.positioned(sizes))

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """Each token of `x_BTD` mixed with what it sees."""
        q_BTHK, turned_BTHR = self._queries(x_BTD).split([self.head_width, self.rotary_width], dim=-1)
        turned_BTHR = self.position.rotate(turned_BTHR, span.positions_BT)
        key_BT1R = self.position.rotate(self.rotary_key(x_BTD)[:, :, None], span.positions_BT)
        latent_BSC, key_BS1R = span.extend(self, self.compress_norm(self.compress(x_BTD)), key_BT1R)
        mix = self._folded if self._folding_pays(x_BTD.size(1), key_BS1R.size(1)) else self._unfolded
        return self.out(mix(q_BTHK, turned_BTHR, latent_BSC, key_BS1R, span).flatten(2))

    def _queries(self, x_BTD: Tensor) -> Tensor:
        if self.query_compress is not None and self.query_norm is not None:
            x_BTD = self.query_norm(self.query_compress(x_BTD))
        return self.query(x_BTD).unflatten(-1, (self.heads, -1))

    def _unfolded(
        self, q_BTHK: Tensor, turned_BTHR: Tensor, latent_BSC: Tensor, key_BS1R: Tensor, span: Span
    ) -> Tensor:
        """Keys and values of every head, made from what is remembered."""
        k_BSHK = self.key(latent_BSC).unflatten(-1, (self.heads, -1))
        v_BSHK = self.value(latent_BSC).unflatten(-1, (self.heads, -1))
        k_BSHK = torch.cat([k_BSHK, key_BS1R.expand(-1, -1, self.heads, -1)], dim=-1)
        q_BTHK = torch.cat([q_BTHK, turned_BTHR], dim=-1)
        return attend(q_BTHK, k_BSHK, v_BSHK, span, bias=self.position.bias, scale=self.scale)

    def _folded(self, q_BTHK: Tensor, turned_BTHR: Tensor, latent_BSC: Tensor, key_BS1R: Tensor, span: Span) -> Tensor:
        """The same, with what makes keys folded into the query and what makes values into the output."""
        key_HKC = self.key.weight.unflatten(0, (self.heads, -1))
        value_HKC = self.value.weight.unflatten(0, (self.heads, -1))
        q_BTHC = torch.einsum("bthk,hkc->bthc", q_BTHK, key_HKC)
        q_BTHC = torch.cat([q_BTHC, turned_BTHR], dim=-1)
        latent_BS1C = latent_BSC[:, :, None]
        k_BS1C = torch.cat([latent_BS1C, key_BS1R], dim=-1)
        y_BTHC = attend(q_BTHC, k_BS1C, latent_BS1C, span, bias=self.position.bias, scale=self.scale)
        return torch.einsum("bthc,hkc->bthk", y_BTHC, value_HKC)

    def _folding_pays(self, T: int, S: int) -> bool:
        """Whether attending to the vectors, each wider than a head, costs less than making the keys of all heads."""
        unfolded = 2 * S * self.rank * self.head_width + T * S * (2 * self.head_width + self.rotary_width)
        folded = 2 * T * self.rank * self.head_width + T * S * (2 * self.rank + self.rotary_width)
        return folded < unfolded
