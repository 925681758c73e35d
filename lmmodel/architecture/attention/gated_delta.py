"""Memory that corrects itself: before a token writes, what its key already recalls is taken off; and all of it fades.

Yang, Kautz and Hatamizadeh, 2024, "Gated Delta Networks: Improving Mamba2 with Delta Rule"; a chunk at a time as in
Yang and others, 2024, "Parallelizing Linear Transformers with the Delta Rule over Sequence Length". Qwen3-Next has it
in three layers of four.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmmodel.architecture.convolution import ShortConvolution
from lmmodel.architecture.heads import times_head_width
from lmmodel.architecture.narrowing import OutNorm, as_they_come
from lmmodel.architecture.recurrence import Fading, chunk_of, chunks, fading, joined, step_bias
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Count, Natural, Positive, Settings


class Options(Settings):
    """Heads of keys and queries as the model's, where none are given; more of values, as a number or so many to a key.

    key_width, value_width: of a head, as numbers or as fractions of the model's head width, which they are where
    neither is given. convolution: tokens that the short one sees, 0 for none. decay: whether memory fades; without, it
    is DeltaNet. epsilon: of the norm before the output.
    """

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("value_heads", "values_per_key"),
        ("key_width", "key_fraction"),
        ("value_width", "value_fraction"),
    )

    key_heads: Count | None = None
    value_heads: Count | None = None
    values_per_key: Count | None = None
    key_width: Count | None = None
    key_fraction: Positive | None = None
    value_width: Count | None = None
    value_fraction: Positive | None = None
    convolution: Natural = 4
    decay: bool = True
    output_gate: bool = True
    epsilon: Positive = 1e-6

    def complete(self, sizes: Sizes) -> Options:
        """With heads and widths as numbers; ValueError where they do not fit one another."""
        key_heads = self.key_heads or sizes.heads
        value_heads = self.value_heads or key_heads * (self.values_per_key or 1)
        if value_heads % key_heads:
            raise ValueError(f"has {value_heads} heads of values, which {key_heads} heads of keys do not divide")
        told = {
            "key_heads": key_heads,
            "value_heads": value_heads,
            "key_width": self.key_width or times_head_width("key_fraction", self.key_fraction or 1.0, sizes),
            "value_width": self.value_width or times_head_width("value_fraction", self.value_fraction or 1.0, sizes),
        }
        return self.model_copy(update={**told, "values_per_key": None, "key_fraction": None, "value_fraction": None})


class Attention(nn.Module):
    """memory = fade memory, then memory + learn k (v - memory' k)'; y = memory' q; then normed, gated, out."""

    honours: ClassVar[frozenset[str]] = frozenset()
    orders_itself: ClassVar[bool] = True

    def __init__(
        self, options: Options, sizes: Sizes, *, position: Callable[[Sizes], Any], norm: Callable[[Sizes], Any]
    ) -> None:
        super().__init__()
        told = options.complete(sizes)
        assert told.key_heads is not None
        assert told.value_heads is not None
        assert told.key_width is not None
        assert told.value_width is not None
        self.key_heads, self.value_heads = told.key_heads, told.value_heads
        keys, values = told.key_heads * told.key_width, told.value_heads * told.value_width
        self.widths = (keys, keys, values)
        self.query = nn.Linear(sizes.width, keys, bias=False)
        self.key = nn.Linear(sizes.width, keys, bias=False)
        self.value = nn.Linear(sizes.width, values, bias=False)
        self.learn = nn.Linear(sizes.width, self.value_heads, bias=False)
        self.convolution = ShortConvolution(2 * keys + values, told.convolution) if told.convolution else None
        self.step = nn.Linear(sizes.width, self.value_heads, bias=False) if told.decay else None
        self.log_rate_H = nn.Parameter(torch.empty(self.value_heads)) if told.decay else None
        self.step_bias_H = nn.Parameter(torch.empty(self.value_heads)) if told.decay else None
        self.gate = nn.Linear(sizes.width, values, bias=False) if told.output_gate else None
        self.out_norm = OutNorm(told.value_width, eps=told.epsilon)
        self.out = nn.Linear(values, sizes.width, bias=False)

    def initialise(self, generator: torch.Generator) -> None:
        """Rates of 1 to 16, steps of 0.001 to 0.1."""
        if self.log_rate_H is not None and self.step_bias_H is not None:
            self.log_rate_H.copy_(torch.empty(self.value_heads).uniform_(1, 16, generator=generator).log())
            self.step_bias_H.copy_(step_bias(self.value_heads, generator))

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """Each token of `x_BTD` mixed with what it sees."""
        mixed_BTN = torch.cat([self.query(x_BTD), self.key(x_BTD), self.value(x_BTD)], dim=-1)
        if self.convolution is not None:
            mixed_BTN = F.silu(self.convolution(mixed_BTN, span))
        q_BTN, k_BTN, v_BTN = mixed_BTN.split(self.widths, dim=-1)
        (memory,) = span.recall(self) or (None,)
        y_BTHV, memory = correct(
            self._keys(q_BTN) * (q_BTN.size(-1) // self.key_heads) ** -0.5,
            self._keys(k_BTN),
            v_BTN.unflatten(-1, (self.value_heads, -1)),
            learn_BTH=self.learn(x_BTD).sigmoid(),
            log_decay_BTH=self._log_decay(x_BTD),
            begins_BT=span.positions_BT == 0,
            memory_BHKV=memory,
        )
        span.keep(self, memory)
        y_BTN = self.out_norm(y_BTHV).flatten(2)
        return self.out(y_BTN if self.gate is None else y_BTN * F.silu(self.gate(x_BTD)))

    def _keys(self, x_BTN: Tensor) -> Tensor:
        """Heads of length one, repeated for the heads of values that they serve."""
        x_BTGK = x_BTN.unflatten(-1, (self.key_heads, -1))
        x_BTGK = x_BTGK * torch.rsqrt(x_BTGK.square().sum(-1, keepdim=True) + 1e-6)
        return x_BTGK.repeat_interleave(self.value_heads // self.key_heads, dim=2)

    def _log_decay(self, x_BTD: Tensor) -> Tensor:
        """In float32 or wider."""
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        if self.step is None or self.log_rate_H is None or self.step_bias_H is None:
            return torch.zeros(1, x_BTD.size(1), 1, device=x_BTD.device, dtype=wide)
        step_BTH = F.softplus(self.step(x_BTD).to(wide) + self.step_bias_H.to(wide))
        return -self.log_rate_H.to(wide).exp() * step_BTH


def correct(
    q_BTHK: Tensor,
    k_BTHK: Tensor,
    v_BTHV: Tensor,
    *,
    learn_BTH: Tensor,
    log_decay_BTH: Tensor,
    begins_BT: Tensor,
    memory_BHKV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """y_BTHV and the memory afterwards; a `memory_BHKV` of None is empty, and it is kept in float32 or wider.

    What the tokens of a chunk write depends on what those before them wrote: a triangular system, solved for all values
    and for the memory before the chunk at once (the WY form). Then the memory goes from chunk to chunk.
    """
    size, wide = chunk_of(v_BTHV.size(1)), log_decay_BTH.dtype
    fades = fading(log_decay_BTH, begins_BT, size)
    q, k, v = (chunks(part, size) for part in (q_BTHK, k_BTHK, v_BTHV))
    learn_BNHC1 = chunks(learn_BTH[..., None], size)
    overlap_BNHCC = ((k @ k.mT) * fades.between_BNHCC * learn_BNHC1).tril(-1)
    with as_they_come(k.device):
        solved_BNHCC = inverse(overlap_BNHCC)
        written_BNHCV = solved_BNHCC @ (learn_BNHC1 * v).to(wide)
        recalled_BNHCK = solved_BNHCC @ (learn_BNHC1 * k * fades.since_BNHC[..., None])
    y_BNHCV, memory_BHKV = _through_chunks(q, k, written_BNHCV, recalled_BNHCK, fades, memory_BHKV)
    return joined(y_BNHCV, v_BTHV.size(1)), memory_BHKV


def _through_chunks(
    q: Tensor, k: Tensor, written: Tensor, recalled: Tensor, fades: Fading, memory_BHKV: Tensor | None
) -> tuple[Tensor, Tensor]:
    """From chunk to chunk: what is written is corrected by the memory, read, and added to it."""
    dtype, wide = q.dtype, written.dtype
    inside = ((q @ k.mT) * fades.between_BNHCC).to(dtype)
    q = (q * fades.since_BNHC[..., None]).to(dtype)
    kept = (k * fades.until_BNHC[..., None]).to(dtype).mT
    recalled = recalled.to(dtype)
    if memory_BHKV is None:
        memory_BHKV = torch.zeros_like(kept[:, 0, :, :, :1] * written[:, 0, :, :1], dtype=wide)
    ys: list[Tensor] = []
    for n in range(q.size(1)):
        held = memory_BHKV.to(dtype)
        new = (written[:, n] - recalled[:, n] @ held).to(dtype)
        ys.append(q[:, n] @ held + inside[:, n] @ new)
        memory_BHKV = memory_BHKV * fades.through_BNH[:, n, :, None, None] + kept[:, n] @ new
    return torch.stack(ys, dim=1), memory_BHKV


def inverse(below_NCC: Tensor) -> Tensor:
    """Of one plus a strictly lower triangular matrix whose size is a power of two, over the last two dimensions.

    Two halves are inverted, and what lies below them makes one of twice the size. All products, where a triangular
    solver goes row by row; and unlike a series of powers it does not lose digits where keys are alike.
    """
    half = below_NCC.size(-1) // 2
    if not half:
        return torch.ones_like(below_NCC)
    halves = torch.stack([below_NCC[..., :half, :half], below_NCC[..., half:, half:]])
    first, second = inverse(halves).unbind(0)
    corner = -(second @ below_NCC[..., half:, :half] @ first)
    return torch.cat([F.pad(first, (0, half)), torch.cat([corner, second], dim=-1)], dim=-2)
