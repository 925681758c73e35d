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


class Dropout:
    """Leaves out `share` of the numbers of `model`'s parts, and raises the others to the same sum; none: none.

    What is left out follows from torch's generator on the device, which a training seeds anew for every step.
    """

    def __init__(self, model: Model, share: float | None) -> None:
        self.model, self.share = model, share
        self._kept: Tensor | None = None

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
    parts = [getattr(block, name, None) for block in blocks for name in ("attention", "feed_forward")]
    return [part for part in (model.ngrams, *parts) if part is not None]
