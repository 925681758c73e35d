"""Every weight learns."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose."""


class Method:
    """Fine-tuning as pretraining went on, on other text."""

    skips: ClassVar[bool] = False
    learns_all: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def prepare(self, model: nn.Module, *, seed: int) -> None:
        """Say which of the model's parameters learn."""
        model.requires_grad_(True)

    def finish(self, model: nn.Module) -> None:
        """Make the model what it is kept as: it is that already."""
