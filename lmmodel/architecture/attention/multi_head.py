"""Softmax attention over all earlier tokens, or over a window of them.

Vaswani and others, 2017, "Attention Is All You Need". Fewer key-value heads than query heads: Shazeer, 2019, "Fast
Transformer Decoding"; Ainslie and others, 2023, "GQA". A window: Beltagy and others, 2020, "Longformer". Queries and
keys normed before their product: Henry and others, 2020, "Query-Key Normalization for Transformers". Scores softly
capped: Google, 2024, "Gemma 2". Sinks: Xiao and others, 2023, "Efficient Streaming Language Models with Attention
Sinks"; OpenAI, 2025 (gpt-oss). A gate before the output: Qiu and others, 2025, "Gated Attention for Large Language
Models". The first layer's values: Zhou and others, 2024, "Value Residual Learning".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lmmodel.architecture.attend import attend
from lmmodel.architecture.heads import Heads
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Positive


class Options(Heads):
    """Key-value heads as a number or as queries to each (one each where neither is given).

    window: the tokens that a token sees, itself among them, as a number or as a fraction of the context; all where
    neither is given. qk_norm: a norm like the layer's on queries and keys, over each head or over all of them at once.
    bias: of every product, or of the inputs alone (of query, key, value and gate, not of what is written back).
    scale: of the products, 1 / sqrt(head width) unless told. softcap: scores pass through softcap * tanh(score /
    softcap). sinks: a learned score of each head for attending to nothing. output_gate: what a head gathers is weighed
    by the token, number by number. value_residual: values are a learned mixture with the first layer's.
    """

    qk_norm: Literal["none", "head", "width"] = "none"
    bias: bool | Literal["inputs"] = False
    scale: Positive | None = None
    softcap: Positive | None = None
    sinks: bool = False
    output_gate: bool = False
    value_residual: bool = False

    def complete(self, sizes: Sizes) -> Options:
        """With kv_heads and window as numbers; ValueError where they do not fit."""
        return self.numbered(sizes, least_window=1 if self.sinks else 2)


class Attention(nn.Module):
    """Query, key, value, scores, softmax, out; `kv_heads` keys and values are shared by the heads in equal groups."""

    honours: ClassVar[frozenset[str]] = frozenset({"queries and keys", "scores"})

    def __init__(
        self,
        options: Options,
        sizes: Sizes,
        *,
        position: Callable[[Sizes], Any],
        norm: Callable[[Sizes], Any],
    ) -> None:
        super().__init__()
        told = options.complete(sizes)
        assert told.kv_heads is not None
        self.head_width, self.window = sizes.head_width, told.window
        queries, keys = sizes.heads * sizes.head_width, told.kv_heads * sizes.head_width
        biased = told.bias is not False
        self.query = nn.Linear(sizes.width, queries, bias=biased)
        self.key = nn.Linear(sizes.width, keys, bias=biased)
        self.value = nn.Linear(sizes.width, keys, bias=biased)
        self.out = nn.Linear(queries, sizes.width, bias=told.bias is True)
        self.gate = nn.Linear(sizes.width, queries, bias=biased) if told.output_gate else None
        self.value_mix_2 = nn.Parameter(torch.full((2,), 0.5)) if told.value_residual else None
        self.sink_H = nn.Parameter(torch.zeros(sizes.heads)) if told.sinks else None
        self.scale, self.softcap = told.scale, told.softcap
        self.position = position(sizes)
        self.norm_heads = told.qk_norm == "head"
        normed = {"none": None, "head": (sizes.head_width,) * 2, "width": (queries, keys)}[told.qk_norm]
        self.query_norm = norm(replace(sizes, width=normed[0])) if normed else None
        self.key_norm = norm(replace(sizes, width=normed[1])) if normed else None

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """Each token of `x_BTD` mixed with what it sees."""
        q_BTHK = self._heads(self.query(x_BTD), self.query_norm)
        k_BTGK = self._heads(self.key(x_BTD), self.key_norm)
        v_BTGK = self._values(x_BTD, span)
        q_BTHK = self.position.rotate(q_BTHK, span.positions_BT)
        k_BTGK = self.position.rotate(k_BTGK, span.positions_BT)
        k_BSGK, v_BSGK = span.extend(self, k_BTGK, v_BTGK, last=self.window)
        y_BTHK = attend(
            q_BTHK,
            k_BSGK,
            v_BSGK,
            span,
            window=self.window,
            bias=self.position.bias,
            scale=self.scale,
            softcap=self.softcap,
            sink_H=self.sink_H,
        )
        y_BTN = y_BTHK.flatten(2)
        return self.out(y_BTN if self.gate is None else y_BTN * self.gate(x_BTD).sigmoid())

    def _values(self, x_BTD: Tensor, span: Span) -> Tensor:
        v_BTGK = self._heads(self.value(x_BTD), None)
        if self.value_mix_2 is None:
            return v_BTGK
        first_BTGK = span.first(f"values {tuple(v_BTGK.shape[2:])}", v_BTGK)  # layers of one shape share theirs
        return self.value_mix_2[0] * v_BTGK + self.value_mix_2[1] * first_BTGK

    def _heads(self, x_BTN: Tensor, norm: nn.Module | None) -> Tensor:
        if norm is not None and not self.norm_heads:
            x_BTN = norm(x_BTN)
        x_BTHK = x_BTN.unflatten(-1, (-1, self.head_width))
        return norm(x_BTHK) if norm is not None and self.norm_heads else x_BTHK
