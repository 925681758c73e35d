"""What autocast, which narrows the operands of products as they come, has to be told: with `precision: autocast`.

torch knows which of its operations to narrow. It does not know those that digits hang on, nor a product of this
project's own; and where a norm's weight is wider than what it scales, its answer would be wide too.
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


class OutNorm(nn.RMSNorm):
    """Of what a mixer's heads gathered, before it is written back: RMSNorm in the type of what comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """The shape of `x`; statistics in float32 or wider."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)
