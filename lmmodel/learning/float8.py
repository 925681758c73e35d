"""Products of the layers' linear maps in 8 bits: e4m3 for what goes forward, e5m2 for gradients.

Micikevicius and others, 2022, "FP8 Formats for Deep Learning" (arXiv:2209.05433). Each tensor is scaled anew so that
its largest number comes to the top of the format's range. Scales are powers of two: so a number is rounded alike
whatever stands beside it, unless that is more than 14,000 times as large, and how a batch is cut into parts hardly
matters. The rest of a model is left in the precision that it has, and sums are made in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
STEP = 16
"""What a side of a product is a multiple of, for a GPU's kernels to take it."""
_LEAST_POWER = -100  # of a scale whose inverse is finite; what is smaller is nothing beside other gradients


def narrow(model: nn.Module) -> None:
    """Let the layers' linears multiply in 8 bits from now on, where their sides are multiples of `STEP`.

    What uses a linear's weight without calling it, as a router does, is left as it is.
    """
    for linear in _linears(model):
        linear.forward = partial(_called, linear)


def widen(model: nn.Module) -> None:
    """Let them multiply as they did."""
    for linear in _linears(model):
        vars(linear).pop("forward", None)  # the instance's, which hid the class's


def _called(linear: nn.Linear, x: Tensor) -> Tensor:
    return product(x, linear.weight, linear.bias)


def product(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """As `F.linear`, of operands rounded to 8 bits, in the type of `x`; gradients likewise. I and O: see `STEP`."""
    x_NI = x.flatten(0, -2)
    rows = x_NI.size(0)
    if rest := rows % STEP:
        x_NI = F.pad(x_NI, (0, 0, 0, STEP - rest))
    y_NO: Tensor = _Product.apply(x_NI, weight_OI)[:rows]
    y = y_NO.unflatten(0, x.shape[:-1])
    return y if bias_O is None else y + bias_O


class Rounded(NamedTuple):
    """`values` in 8 bits times `scale`, a power of two, are about what was there."""

    values_RC: Tensor
    scale: Tensor

    @property
    def turned(self) -> Rounded:
        """Rows made columns, also in memory."""
        return Rounded(self.values_RC.t().contiguous(), self.scale)


def rounded(x_RC: Tensor, dtype: torch.dtype) -> Rounded:
    """`x_RC` with the least scale that lets nothing overflow; the scale is not finite where a number was not."""
    top, power_of_top = math.frexp(torch.finfo(dtype).max)
    largest, power = torch.frexp(x_RC.abs().amax().float())
    power = (power - power_of_top + (largest > top)).clamp(min=_LEAST_POWER)
    one = torch.ones_like(largest)
    values_RC = (x_RC * torch.ldexp(one, -power)).to(dtype)
    scale = torch.where(largest.isfinite(), torch.ldexp(one, power), largest)  # in 8 bits infinity would be lost
    return Rounded(values_RC.contiguous(), scale)


class _Product(torch.autograd.Function):
    """y_NO = x_NI @ weight_OI.T. What is kept for the way back is shared with other linears, and rounded once more."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        """The product, in the type of `x_NI`."""
        ctx.save_for_backward(x_NI, weight_OI)
        return _times(rounded(x_NI, FORWARD), rounded(weight_OI, FORWARD), x_NI.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Of both operands, as far as they are wanted."""
        x_NI, weight_OI = ctx.saved_tensors
        grad_NO = rounded(grads[0], BACKWARD)
        grad_NI = grad_OI = None
        if ctx.needs_input_grad[0]:
            grad_NI = _times(grad_NO, rounded(weight_OI, FORWARD).turned, x_NI.dtype)
        if ctx.needs_input_grad[1]:
            grad_OI = _times(grad_NO.turned, rounded(x_NI, FORWARD).turned, weight_OI.dtype)
        return grad_NI, grad_OI


def _times(one_RK: Rounded, other_CK: Rounded, dtype: torch.dtype) -> Tensor:
    """Products of rows with rows, [R, C]: the kernels want the second operand column by column."""
    values_RK, values_KC = one_RK.values_RC, other_CK.values_RC.t()
    return torch._scaled_mm(values_RK, values_KC, scale_a=one_RK.scale, scale_b=other_CK.scale, out_dtype=dtype)


def _linears(model: nn.Module) -> Iterator[Any]:
    """Those of the layers that can."""
    for layer in (*getattr(model, "layers", ()), *getattr(model, "ahead", ())):
        for module in layer.modules():
            if isinstance(module, nn.Linear) and not (module.in_features % STEP or module.out_features % STEP):
                yield module
