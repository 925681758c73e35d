"""Softmax attention: the one place that chooses how it is computed, by device, shape and mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmmodel.architecture.once import stored
from lmmodel.architecture.span import Span

Bias = Callable[[Tensor, Tensor], Tensor]
"""(head, distance) -> what is added to the scaled score; elementwise and broadcasting."""


def attend(
    q_BTHK: Tensor,
    k_BSGK: Tensor,
    v_BSGV: Tensor,
    span: Span,
    *,
    window: int | None = None,
    bias: Bias | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sink_H: Tensor | None = None,
) -> Tensor:
    """What each query gathers from the values that it sees, y_BTHV; H heads share G keys and values in equal groups.

    window: a query sees so many of the latest tokens, itself among them. scale: of the products, 1 / sqrt(K) unless
    told. softcap: scores pass through softcap * tanh(score / softcap), before the bias. sink_H: a score that each head
    gives to nothing.
    """
    scale = q_BTHK.size(-1) ** -0.5 if scale is None else scale
    is_plain = bias is None and softcap is None and sink_H is None and not span.probing
    is_fused = is_plain and span.is_causal(k_BSGK.size(1), window)
    if not is_fused and not span.probing and _flex_pays(q_BTHK, k_BSGK, v_BSGV, bias):
        from lmmodel.architecture.flex import flexed

        told: dict[str, Any] = {"window": window, "bias": bias, "softcap": softcap, "sink_H": sink_H}
        return flexed(q_BTHK, k_BSGK, v_BSGV, span, scale=scale, **told)
    mask = span.visible(k_BSGK.size(1), window)
    if is_plain:
        if _strips_pay(q_BTHK, k_BSGK):
            hiding_BTS = span.once(("hiding", window), lambda: _hiding(q_BTHK, mask))
            return _in_strips(q_BTHK * scale, k_BSGK, v_BSGV, hiding_BTS)
        return _fused(q_BTHK, k_BSGK, v_BSGV, mask, scale)
    scores_BHTS = _scores(q_BTHK * scale, k_BSGK)
    if softcap is not None:
        scores_BHTS = softcap * torch.tanh(scores_BHTS / softcap)
    if bias is not None:
        scores_BHTS = scores_BHTS + _bias(bias, q_BTHK.size(2), k_BSGK.size(1), span)
    shares_BHTS = _shares(scores_BHTS, mask, sink_H)
    if span.probing:
        span.entropies.append(torch.special.entr(shares_BHTS).sum(-1).mean())
    return _gather(shares_BHTS, v_BSGV)


def _flex_pays(q_BTHK: Tensor, k_BSGK: Tensor, v_BSGV: Tensor, bias: Bias | None) -> bool:
    """Whether a kernel is written for what torch's fused ones do not take: while compiling for a GPU.

    On the way back it would add up the gradient of what a bias has learned in any order: where the same computation is
    to give the same bits, such a bias stays with plain products. On a CPU it has no way back.
    """
    if q_BTHK.device.type != "cuda" or not torch.compiler.is_compiling():
        return False
    from lmmodel.architecture.flex import has_kernel

    determined = torch.is_grad_enabled() and torch.are_deterministic_algorithms_enabled()
    return has_kernel(q_BTHK, k_BSGK, v_BSGV) and not (determined and _may_learn(bias))


def _may_learn(bias: Bias | None) -> bool:
    """Whether a gradient may reach what `bias` is made from: unless it is a method of a module without parameters."""
    if bias is None:
        return False
    owner = getattr(bias, "__self__", None)
    return not isinstance(owner, nn.Module) or any(True for _ in owner.parameters())


_LONGEST = 512
_STRIPS, _NARROWEST = 4, 64


def _strips_pay(q_BTHK: Tensor, k_BSGK: Tensor) -> bool:
    """Whether plain products are faster than torch's fused kernel.

    They are on a CPU up to a context of 512, where the fused kernel's backward is slow: compiled, forward and backward
    at context 256 took 0.36 of its time in bfloat16 and 0.75 in float32; not compiled 0.60 and 1.09.
    """
    T, S = q_BTHK.size(1), k_BSGK.size(1)
    if q_BTHK.device.type != "cpu" or T != S or not _NARROWEST < T <= _LONGEST:
        return False
    narrow = q_BTHK.dtype.itemsize < 4
    return torch.compiler.is_compiling() or (narrow and torch.is_grad_enabled())


def _in_strips(q_BTHK: Tensor, k_BSGK: Tensor, v_BSGV: Tensor, hiding_BTS: Tensor) -> Tensor:
    """Plain products, a strip of queries at a time: what is later than all of a strip is never computed."""
    T, groups = q_BTHK.size(1), k_BSGK.size(2)
    width = max(_NARROWEST, -(-T // _STRIPS))
    # Turned before they are cut, cut once, and put together again: so gradients come back as pieces side by side. Those
    # of slices would be filled up with zeros and summed, which took a third as long as all products here.
    strips_BGRTK = q_BTHK.unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4).split(width, dim=3)
    keys_BGKS = k_BSGK.permute(0, 2, 3, 1).split(width, dim=3)
    values_BGSV = v_BSGV.transpose(1, 2).split(width, dim=2)
    ys_BGRTV = []
    for n, (strip_BGRTK, hidden_BTS) in enumerate(zip(strips_BGRTK, hiding_BTS.split(width, dim=1), strict=True), 1):
        k_BGKS, v_BGSV = torch.cat(keys_BGKS[:n], dim=3), torch.cat(values_BGSV[:n], dim=2)
        scores_BGRTS = (strip_BGRTK.flatten(2, 3) @ k_BGKS).unflatten(2, strip_BGRTK.shape[2:4])
        shares_BGRTS: Tensor = _Shares.apply(scores_BGRTS, hidden_BTS[:, None, None, :, : v_BGSV.size(2)])
        y_BGNV = shares_BGRTS.to(v_BGSV.dtype).flatten(2, 3) @ v_BGSV
        ys_BGRTV.append(y_BGNV.unflatten(2, strip_BGRTK.shape[2:4]))
    return torch.cat(ys_BGRTV, dim=3).permute(0, 3, 1, 2, 4).flatten(2, 3)


def _hiding(q_BTHK: Tensor, mask: Tensor | None) -> Tensor:
    """Float32 [1 or B, T, T], to be added to scores: nothing where a token is seen, and minus infinity elsewhere."""
    T, device = q_BTHK.size(1), q_BTHK.device
    seen = torch.ones(1, T, T, dtype=torch.bool, device=device).tril() if mask is None else mask
    return stored(torch.zeros(seen.shape, device=device).masked_fill(~seen, float("-inf")))


class _Shares(torch.autograd.Function):
    """Softmax of scores and what hides them, in float32 or wider. The shares are kept in the type of the scores.

    So half of the memory does where that is bfloat16, and the way back sees the shares that values were weighed by.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, hiding: Tensor) -> Tensor:
        """In the type of `scores`; `hiding` broadcasts."""
        wide = torch.promote_types(scores.dtype, hiding.dtype)
        shares = (scores.to(wide) + hiding).softmax(dim=-1).to(scores.dtype)
        ctx.save_for_backward(shares)
        return shares

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Of the scores; what hides them learns nothing."""
        (shares,) = ctx.saved_tensors
        wide = torch.promote_types(shares.dtype, torch.float32)
        weighed = grads[0].to(wide) * shares.to(wide)
        return (weighed - shares.to(wide) * weighed.sum(dim=-1, keepdim=True)).to(shares.dtype), None


def _fused(q_BTHK: Tensor, k_BSGK: Tensor, v_BSGV: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """torch's own kernels."""
    T, S = q_BTHK.size(1), k_BSGK.size(1)
    each = q_BTHK.size(2) // k_BSGK.size(2)
    if each > 1 and not _kernel_knows_groups(q_BTHK.device.type, q_BTHK.dtype, masked=mask is not None):
        k_BSGK, v_BSGV = k_BSGK.repeat_interleave(each, dim=2), v_BSGV.repeat_interleave(each, dim=2)
    y_BHTV = F.scaled_dot_product_attention(
        q_BTHK.transpose(1, 2),
        k_BSGK.transpose(1, 2),
        v_BSGV.transpose(1, 2),
        attn_mask=None if mask is None else mask[:, None],
        is_causal=mask is None and T == S,
        scale=scale,
        enable_gqa=q_BTHK.size(2) != k_BSGK.size(2),
    )
    return y_BHTV.transpose(1, 2)


def _kernel_knows_groups(device: str, dtype: torch.dtype, *, masked: bool) -> bool:
    """Whether heads may share keys without leaving the fused kernels.

    On CUDA only the flash kernel knows groups, and it takes neither a mask nor float32: torch would fall back on plain
    products of all tokens with all.
    """
    return device != "cuda" or (dtype.itemsize == 2 and not masked)


def _scores(q_BTHK: Tensor, k_BSGK: Tensor) -> Tensor:
    """Products of queries and keys; the heads of a group are rows of one product, so that no key is copied."""
    groups = k_BSGK.size(2)
    q_BGRTK = q_BTHK.unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4)
    scores_BGNS = q_BGRTK.flatten(2, 3) @ k_BSGK.permute(0, 2, 3, 1)
    return scores_BGNS.unflatten(2, q_BGRTK.shape[2:4]).flatten(1, 2)


def _bias(bias: Bias, heads: int, S: int, span: Span) -> Tensor:
    positions_BS, _ = span.keys(S)
    head_H11 = torch.arange(heads, device=positions_BS.device)[:, None, None]
    return bias(head_H11, (span.positions_BT[:, :, None] - positions_BS[:, None, :])[:, None])


def _shares(scores: Tensor, mask: Tensor | None, sink_H: Tensor | None = None) -> Tensor:
    """Softmax over what is visible, in float32 or wider; `scores` [B, H, T, S]."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    T, S = scores.shape[-2:]
    if mask is None and T > 1:
        mask = torch.ones(T, S, dtype=torch.bool, device=scores.device).tril(S - T)[None]
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], float("-inf"))
    if sink_H is None:
        return scores.softmax(dim=-1)
    sink_BHT1 = sink_H.to(scores.dtype)[:, None, None].expand(*scores.shape[:-1], 1)
    return torch.cat([scores, sink_BHT1], dim=-1).softmax(dim=-1)[..., :-1]


def _gather(shares_BHTS: Tensor, v_BSGV: Tensor) -> Tensor:
    """Values weighted by their shares, y_BTHV."""
    groups, T = v_BSGV.size(2), shares_BHTS.size(2)
    shares_BGNS = shares_BHTS.unflatten(1, (groups, -1)).flatten(2, 3)
    y_BGNV = shares_BGNS.to(v_BSGV.dtype) @ v_BSGV.transpose(1, 2)
    return y_BGNV.unflatten(2, (-1, T)).flatten(1, 2).transpose(1, 2)
