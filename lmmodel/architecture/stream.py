"""Learned numbers on the residual stream as it enters a layer: about free, and deep layers can let go of early ones.

Jordan and others, 2024, modded-nanogpt; Karpathy, 2025, nanochat. A block holds them as a parameter of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # a block's options name `Scalars`, and options are read without torch
    from torch import Tensor, nn

    from lmmodel.architecture.span import Span

Scalars = Literal["none", "stream", "stream_and_first"]
"""Which a block has: none; one for the stream; one more for what entered the first layer that asks, added to it."""


def scalars(choice: Scalars) -> nn.Parameter | None:
    """Values that change nothing at first: one for the stream, zero for what entered the first layer."""
    import torch

    first = {"none": None, "stream": [1.0], "stream_and_first": [1.0, 0.0]}[choice]
    return None if first is None else torch.nn.Parameter(torch.tensor(first))


def scaled(x_BTD: Tensor, scalars: Tensor | None, span: Span) -> Tensor:
    """The stream times its number, and what entered the first layer times its own."""
    if scalars is None:
        return x_BTD
    if scalars.size(0) == 1:
        return x_BTD * scalars[0]
    return x_BTD * scalars[0] + span.first("stream", x_BTD) * scalars[1]
