"""Softmax attention by torch's FlexAttention: the compiler writes a kernel for each bias, cap and mask.

Dong and others, 2024, "Flex Attention: A Programming Model for Generating Optimized Attention Kernels". No score is
ever stored, and blocks of tokens that see nothing of one another are left out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, create_block_mask, flex_attention

from lmmodel.architecture.attend import Bias
from lmmodel.architecture.span import Span

BLOCK = 128
"""Queries, and keys, of a block that is computed or left out as a whole."""

_ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def has_kernel(q_BTHK: Tensor, k_BSGK: Tensor, v_BSGV: Tensor) -> bool:
    """Whether torch writes a kernel for a whole pass of these on a GPU: numbers of one width, heads that fit a tile."""
    alike = q_BTHK.dtype == k_BSGK.dtype == v_BSGV.dtype
    widest = {2: 256, 4: 128}.get(q_BTHK.dtype.itemsize, 0)
    fits = all(16 <= width <= widest for width in (q_BTHK.size(-1), v_BSGV.size(-1)))
    return alike and fits and q_BTHK.size(1) == k_BSGK.size(1) >= BLOCK


def flexed(
    q_BTHK: Tensor,
    k_BSGK: Tensor,
    v_BSGV: Tensor,
    span: Span,
    *,
    window: int | None,
    bias: Bias | None,
    scale: float,
    softcap: float | None,
    sink_H: Tensor | None,
) -> Tensor:
    """y_BTHV, as `attend` defines it, of a pass that sees nothing but itself (T = S)."""
    y_BHTV, aux = flex_attention(
        q_BTHK.transpose(1, 2),
        k_BSGK.transpose(1, 2),
        v_BSGV.transpose(1, 2),
        score_mod=_scored(bias, softcap, span),
        block_mask=span.once(("blocks", window), lambda: _blocks(span, window)),
        scale=scale,
        enable_gqa=q_BTHK.size(2) != k_BSGK.size(2),
        return_aux=AuxRequest(lse=sink_H is not None),
    )
    if sink_H is not None:
        assert aux.lse is not None
        # of exp(lse) + exp(sink), which all shares would add up to, the sink takes the second
        y_BHTV = (y_BHTV * (aux.lse - sink_H[:, None]).sigmoid()[..., None]).to(v_BSGV.dtype)
    return y_BHTV.transpose(1, 2)


def _scored(bias: Bias | None, softcap: float | None, span: Span) -> _ScoreMod | None:
    """What is done to the scaled score of row b, head h, query t and key s."""
    if bias is None and softcap is None:
        return None
    places_BT = None if span.documents_BT is None else span.positions_BT

    def scored(score: Tensor, b: Tensor, h: Tensor, t: Tensor, s: Tensor) -> Tensor:
        if softcap is not None:
            score = softcap * torch.tanh(score / softcap)
        if bias is None:
            return score
        return score + bias(h, t - s if places_BT is None else places_BT[b, t] - places_BT[b, s])

    return scored


def _blocks(span: Span, window: int | None) -> BlockMask:
    """Which blocks of keys a block of queries sees, all of them or some."""
    documents_BT, T = span.documents_BT, span.tokens

    def sees(b: Tensor, h: Tensor, t: Tensor, s: Tensor) -> Tensor:
        seen = t >= s
        if window is not None:
            seen = seen & (t - s < window)
        if documents_BT is not None:
            seen = seen & (documents_BT[b, t] == documents_BT[b, s])
        return seen

    rows = None if documents_BT is None else documents_BT.size(0)
    return create_block_mask(sees, rows, None, T, T, device=span.positions_BT.device, BLOCK_SIZE=BLOCK)
