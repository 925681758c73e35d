"""No weight learns: the stage is skipped."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose."""


class Method:
    """`skips` tells the stage that there is nothing to do."""

    skips: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def prepare(self, model: nn.Module) -> None:
        """Say which of the model's parameters learn."""
        model.requires_grad_(False)
