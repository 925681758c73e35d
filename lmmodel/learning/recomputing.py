"""Activation checkpointing: a layer keeps its input alone, and is computed again on the way back.

Chen and others, 2016, "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174). The second time gives the
numbers of the first, bit for bit, random ones too: so it decides how much memory a step takes, and not what comes of
it. Compiled, the compiler puts the two passes together in other ways, and rounds as it pleases.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model


@contextmanager
def recomputed(model: Model, *, wanted: bool = True) -> Iterator[None]:
    """Inside, where it is wanted, every layer of `model` is computed twice, and keeps nothing from the first time."""
    layers = [*model.layers, *model.ahead] if wanted else []
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the instance's, which hid the class's
