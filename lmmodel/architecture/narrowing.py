"""What autocast, which narrows the operands of products as they come, has to be told: with `precision: autocast`.

torch knows which of its operations to narrow. It does not know those that digits hang on, nor a product of this
project's own; and norms, whose weights stay wide, are to hand on what they were given.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def as_they_come(device: torch.device) -> AbstractContextManager[object]:
    """Inside, products on `device` are of what they are given: digits that a few bits less would spoil stay."""
    return torch.autocast(device.type, enabled=False) if _narrows(device) else nullcontext()


def narrowed(x: Tensor) -> Tensor:
    """`x` as autocast would hand it to a product, where it is at work."""
    return x.to(torch.get_autocast_dtype(x.device.type)) if _narrows(x.device) else x


def _narrows(device: torch.device) -> bool:
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def rms_norm(x: Tensor, weight: Tensor | None, epsilon: float | None) -> Tensor:
    """Over the last dimension, in the type of `x`, also where `weight` is wider or autocast would widen it."""
    wide = x.dtype if weight is None else torch.promote_types(x.dtype, weight.dtype)
    return F.rms_norm(x.to(wide), (x.size(-1),), weight, epsilon).to(x.dtype)


class OutNorm(nn.RMSNorm):
    """Of what a mixer's heads gathered, before it is written back."""

    def forward(self, x: Tensor) -> Tensor:
        """The shape of `x`; statistics in float32 or wider."""
        return rms_norm(x, self.weight, self.eps)
