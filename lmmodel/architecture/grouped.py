"""Rows in groups, each group times a matrix of its own: what experts compute once rows are sorted by expert.

One operation to torch, `torch.ops.lmmodel.grouped_product`: how many rows a group has is known only when it runs, so a
compiler could not look inside; and torch's own grouped product, the fast path here, takes bfloat16 alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

from lmmodel.architecture.narrowing import narrowed

# Not `torch.library.custom_op`, which is shorter: its first call loads the compiler, three seconds that counting a
# design would have to wait for.
_LIBRARY = torch.library.Library("lmmodel", "DEF")
_LIBRARY.define("grouped_product(Tensor x, Tensor weight, Tensor ends) -> Tensor")
_LIBRARY.define("grouped_outer(Tensor y, Tensor x, Tensor ends) -> Tensor")


def grouped_product(x_NI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """y_NO: each row of `x_NI` times its group's matrix; group e ends before row `ends_E[e]` (int32), the last at N."""
    return torch.ops.lmmodel.grouped_product(narrowed(x_NI), narrowed(weight_EOI), ends_E)


@torch.library.impl(_LIBRARY, "grouped_product", "CompositeExplicitAutograd")
def _product(x_NI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    if _has_kernel(x_NI, weight_EOI, widths=weight_EOI.shape[1:]):
        return F.grouped_mm(x_NI, weight_EOI.mT, offs=ends_E)
    y_NO = x_NI.new_empty(x_NI.size(0), weight_EOI.size(1))
    for rows, weight_OI in zip(_groups(ends_E), weight_EOI, strict=True):
        torch.mm(x_NI[rows], weight_OI.T, out=y_NO[rows])
    return y_NO


@torch.library.impl(_LIBRARY, "grouped_outer", "CompositeExplicitAutograd")
def _outer(y_NO: Tensor, x_NI: Tensor, ends_E: Tensor) -> Tensor:
    """weight_EOI: of each group, the sum of its rows' outer products."""
    if _has_kernel(y_NO, x_NI, widths=(y_NO.size(1), x_NI.size(1))):
        return F.grouped_mm(y_NO.T, x_NI, offs=ends_E)
    weight_EOI = x_NI.new_empty(ends_E.size(0), y_NO.size(1), x_NI.size(1))
    for rows, weight_OI in zip(_groups(ends_E), weight_EOI, strict=True):
        torch.mm(y_NO[rows].T, x_NI[rows], out=weight_OI)
    return weight_EOI


def _groups(ends_E: Tensor) -> list[slice]:
    ends = ends_E.tolist()
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _has_kernel(*operands: Tensor, widths: Sequence[int]) -> bool:
    """Whether torch has a kernel: bfloat16 on a GPU, rows in whole steps of 16 bytes, whichever way a matrix lies."""
    apt = all(part.is_cuda and part.dtype == torch.bfloat16 for part in operands)
    return apt and not any(width % 8 for width in widths)


@torch.library.register_fake("lmmodel::grouped_product", lib=_LIBRARY)
def _product_shape(x_NI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    return x_NI.new_empty(x_NI.size(0), weight_EOI.size(1))


@torch.library.register_fake("lmmodel::grouped_outer", lib=_LIBRARY)
def _outer_shape(y_NO: Tensor, x_NI: Tensor, ends_E: Tensor) -> Tensor:
    return x_NI.new_empty(ends_E.size(0), y_NO.size(1), x_NI.size(1))


def _remember(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor, Tensor, None]:
    x_NI, weight_EOI, ends_E = ctx.saved_tensors
    grad_NO = grad_NO.contiguous()
    grad_weight_EOI = torch.ops.lmmodel.grouped_outer(grad_NO, x_NI, ends_E)
    return grouped_product(grad_NO, weight_EOI.mT, ends_E), grad_weight_EOI, None


torch.library.register_autograd("lmmodel::grouped_product", _backward, setup_context=_remember, lib=_LIBRARY)


@register_flop_formula(torch.ops.lmmodel.grouped_product)
def _product_flops(x_NI: Any, weight_EOI: Any, *args: Any, **kwargs: Any) -> int:
    return 2 * x_NI[0] * weight_EOI[1] * weight_EOI[2]


@register_flop_formula(torch.ops.lmmodel.grouped_outer)
def _outer_flops(y_NO: Any, x_NI: Any, *args: Any, **kwargs: Any) -> int:
    return 2 * y_NO[0] * y_NO[1] * x_NI[1]
