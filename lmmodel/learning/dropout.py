"""Numbers left out at random while a model learns, so that it does not rely on any: for text that is seen many times.

Srivastava and others, 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting"; of what each part of a
layer adds to the residual stream, as Vaswani and others, 2017, and of what is read from tables for runs of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lmmodel.architecture.model import Model
from lmmodel.params.refusal import Refusal

_THINNED = ("attention", "feed_forward")


class Dropout:
    """Leaves out `share` of the numbers of `model`'s parts, and raises the others to the same sum; none: none.

    Refused where a layer has no part by a name that is known here: it would leave out nothing there, and not say so.
    What is left out follows from torch's generator on the device, which a training seeds anew for every step.
    """

    def __init__(self, model: Model, share: float | None) -> None:
        self.model, self.share = model, share
        self._kept: Tensor | None = None
        if share is not None:
            _refuse_without_parts(model, share)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Inside, numbers are left out."""
        if self.share is None:
            yield
            return
        self._kept = torch.tensor(1 - self.share, device=next(self.model.parameters()).device)
        hooks = [part.register_forward_hook(self._thinned) for part in _parts(self.model)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Inside, all are kept. A value changes and no code, so that one compiled step serves both."""
        if self.share is None or self._kept is None:
            yield
            return
        self._kept.fill_(1.0)
        try:
            yield
        finally:
            self._kept.fill_(1 - self.share)

    def _thinned(self, part: nn.Module, told: Any, output: Tensor) -> Tensor:
        kept = self._kept
        assert kept is not None
        chance = torch.rand(output.shape, device=output.device)
        return output * ((chance < kept) / kept).to(output.dtype)


def _parts(model: Model) -> list[nn.Module]:
    """Those that there are: a block of one's own may call its parts otherwise, or have one alone."""
    blocks = [*model.layers, *model.ahead]
    parts = [getattr(block, name, None) for block in blocks for name in _THINNED]
    return [part for part in (model.ngrams, *parts) if part is not None]


def _refuse_without_parts(model: Model, share: float) -> None:
    for layer, block in zip(model.declaration.layers, model.layers, strict=True):
        if not any(hasattr(block, name) for name in _THINNED):
            raise Refusal(
                f"dropout {share:g} is of what a layer's attention and feed_forward add, and block "
                f"'{layer.block.kind}' holds nothing by these names: name its parts so, or leave dropout out"
            )
    if not _parts(model):
        raise Refusal(f"dropout {share:g} is of what a layer's attention and feed_forward add, and no layer has either")
