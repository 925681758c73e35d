"""Memory that is a matrix: every token fades it and adds to it, and a query reads it. A chunk of tokens at a time.

Between the tokens of a chunk there are products and a mask, as in attention; from chunk to chunk only the memory goes
on. So the cost of a token does not grow with the tokens before it, and most of it is matrix products. Hua and others,
2022, "Transformer Quality in Linear Time"; Dao and Gu, 2024, "Transformers are SSMs".

Letters beside the project's: N chunks, C tokens of a chunk, R value heads that share one query and key head (H = G R).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 64
"""Tokens of a chunk: longer ones spend more on the products inside, shorter ones more on handing memory on."""


class Fading(NamedTuple):
    """What is left of a memory, between 0 and 1; nothing of another document's. In float32 or wider.

    between_BNHCC: of what a column's token added, when a row's reads. since_BNHC: of the memory before the chunk, when
    a token reads. until_BNHC: of what a token added, at the chunk's end. through_BNH: of the memory before, at its end.
    """

    between_BNHCC: Tensor
    since_BNHC: Tensor
    until_BNHC: Tensor
    through_BNH: Tensor


def chunk_of(tokens: int) -> int:
    """Tokens of a chunk in a pass over so many: a power of two."""
    return min(CHUNK, 1 << (tokens - 1).bit_length())


def chunks(x_BTHK: Tensor, size: int) -> Tensor:
    """x_BNHCK: cut into chunks, zeros behind the last token."""
    spare = -x_BTHK.size(1) % size
    padded_BTHK = F.pad(x_BTHK, (0, 0, 0, 0, 0, spare)) if spare else x_BTHK
    return padded_BTHK.unflatten(1, (-1, size)).transpose(2, 3)


def joined(y_BNHCV: Tensor, tokens: int) -> Tensor:
    """y_BTHV: chunks put together again, without what was put behind the last token."""
    return y_BNHCV.transpose(2, 3).flatten(1, 2)[:, :tokens]


def fading(log_decay_BTH: Tensor, begins_BT: Tensor, size: int) -> Fading:
    """How memory fades by exp(log_decay) at every token, and to nothing where a document begins."""
    total_BNHC = chunks(log_decay_BTH[..., None], size)[..., 0].cumsum(-1)
    begun_BN1C = chunks(begins_BT[:, :, None, None].long(), size)[..., 0].cumsum(-1)
    same_BN1CC = (begun_BN1C[..., :, None] == begun_BN1C[..., None, :]).tril()
    between_BNHCC = (total_BNHC[..., :, None] - total_BNHC[..., None, :]).masked_fill(~same_BN1CC, float("-inf")).exp()
    since_BNHC = total_BNHC.masked_fill(begun_BN1C > 0, float("-inf")).exp()
    return Fading(between_BNHCC, since_BNHC, between_BNHCC[..., -1, :], since_BNHC[..., -1])


def remember(
    q_BTGK: Tensor,
    k_BTGK: Tensor,
    v_BTHV: Tensor,
    *,
    log_decay_BTH: Tensor,
    begins_BT: Tensor,
    memory_BGKRV: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """y_BTHV and the memory afterwards, for memory = exp(log_decay) memory + k v', y = memory' q.

    `log_decay_BTH` may have one head for all. A `memory_BGKRV` of None is empty; it is kept in float32 or wider, and
    products are in the precision of `v_BTHV`.
    """
    T, groups, size = v_BTHV.size(1), k_BTGK.size(2), chunk_of(v_BTHV.size(1))
    fades = fading(log_decay_BTH, begins_BT, size)
    between, since, until, through = (_grouped(fade, groups) for fade in fades)
    q_BNGCK, k_BNGCK = chunks(q_BTGK, size), chunks(k_BTGK, size)
    v_BNGRCV = _grouped(chunks(v_BTHV, size), groups)
    scores_BNG1CC = (q_BNGCK @ k_BNGCK.mT)[:, :, :, None]
    inside_BNGRCV = (scores_BNG1CC * between).to(v_BNGRCV.dtype) @ v_BNGRCV
    left_BNGCRV = (v_BNGRCV * until[..., None]).to(v_BNGRCV.dtype).transpose(3, 4)
    added_BNGKRV = (k_BNGCK.mT @ left_BNGCRV.flatten(-2)).unflatten(-1, left_BNGCRV.shape[-2:])
    before_BNGKRV, memory_BGKRV = _handed_on(added_BNGKRV, through[:, :, :, None, :, None], memory_BGKRV)
    read_BNGCRV = (q_BNGCK @ before_BNGKRV.flatten(-2).to(q_BNGCK.dtype)).unflatten(-1, before_BNGKRV.shape[-2:])
    y_BNGRCV = inside_BNGRCV + (read_BNGCRV.transpose(3, 4) * since[..., None]).to(v_BNGRCV.dtype)
    return joined(y_BNGRCV.flatten(2, 3), T), memory_BGKRV


def _grouped(x_BNHC: Tensor, groups: int) -> Tensor:
    """Heads split into groups; a single one serves all."""
    return x_BNHC.unflatten(2, (groups, -1)) if x_BNHC.size(2) > 1 else x_BNHC[:, :, None]


def _handed_on(added_BNGKRV: Tensor, through_BNG1R1: Tensor, memory_BGKRV: Tensor | None) -> tuple[Tensor, Tensor]:
    """The memory before every chunk, and the one after the last."""
    wide = through_BNG1R1.dtype
    if memory_BGKRV is None:
        memory_BGKRV = torch.zeros_like(added_BNGKRV[:, 0], dtype=wide)
    before: list[Tensor] = []
    for added_BGKRV, through_BG1R1 in zip(added_BNGKRV.unbind(1), through_BNG1R1.unbind(1), strict=True):
        before.append(memory_BGKRV)
        memory_BGKRV = memory_BGKRV * through_BG1R1 + added_BGKRV.to(wide)
    return torch.stack(before, dim=1), memory_BGKRV


def step_bias(heads: int, generator: torch.Generator) -> Tensor:
    """Biases whose softplus is spread from 0.001 to 0.1, evenly in its logarithm: clocks from slow to fast."""
    step_H = torch.empty(heads).uniform_(math.log(1e-3), math.log(1e-1), generator=generator).exp()
    return step_H + torch.log(-torch.expm1(-step_H))
