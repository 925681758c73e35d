"""Which weights a training is judged by and leaves: the last, an average of them, or the best of those.

An exponential moving average (after Polyak and Juditsky, 1992, "Acceleration of Stochastic Approximation by
Averaging") forgets more at first, as TensorFlow's does, or a short training would be judged by what it began with.
Early stopping (Prechelt, 1998, "Early Stopping - But When?") follows from the curve alone: so a training that goes on
after a kill stops where it would have stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lmmodel.learning.settings import EarlyStopping, Ema
from lmmodel.learning.update import Update
from lmmodel.learning.weights import Weights

Rows = Sequence[Mapping[str, float]]


class Judged:
    """The weights to validate with, of a training that updates `weights`; with early stopping, the best so far too."""

    def __init__(
        self,
        model: nn.Module,
        weights: Weights,
        update: Update,
        *,
        ema: Ema | None = None,
        early_stopping: EarlyStopping | None = None,
    ) -> None:
        self._weights, self._update, self._ema, self._early_stopping = weights, update, ema, early_stopping
        self._buffers = dict(model.named_buffers())
        self._average = {name: master.detach().clone() for name, master in weights.masters.items()} if ema else {}
        self._best: dict[str, Tensor] = {}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Update number `step` has been made."""
        if self._ema is not None:
            decay = min(self._ema.decay, (1 + step) / (10 + step))
            for name, value in self._average.items():
                value.lerp_(self._weights.masters[name], 1 - decay)

    def values(self) -> dict[str, Tensor]:
        """By name, where they are not the last weights themselves."""
        return self._average or self._update.averaged()

    def note(self, rows: Rows) -> None:
        """`rows` are the validations so far: remember what the last was made with, where none was better."""
        if self._early_stopping is None or best(rows) != len(rows) - 1:
            return
        weights = self._weights.masters | self.values()
        parts = {"weights": weights, "buffers": self._buffers}
        self._best = {f"{part}/{name}": t.detach().clone() for part, some in parts.items() for name, t in some.items()}

    def exhausted(self, rows: Rows) -> bool:
        """Whether the validations of the last while were all worse than one before."""
        return self._early_stopping is not None and len(rows) - 1 - best(rows) >= self._early_stopping.patience

    def row(self, rows: Rows) -> Mapping[str, float]:
        """The validation of the weights that are left."""
        return rows[-1] if self._early_stopping is None else rows[best(rows)]

    @torch.no_grad()
    def settle(self) -> None:
        """Leave the model in float32 with the weights that it is judged by."""
        found = self.values()
        for path, value in self._best.items():
            part, name = path.split("/", 1)
            if part == "weights":
                found[name] = value
            else:
                self._buffers[name].copy_(value)
        self._weights.settle(found)

    def state(self) -> dict[str, Tensor]:
        """What is remembered, by path."""
        average = {f"average/{name}": value for name, value in self._average.items()}
        return average | {f"best/{path}": value for path, value in self._best.items()}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state` gave, among other things perhaps."""
        for path, value in state.items():
            if path.startswith("average/"):
                self._average[path.removeprefix("average/")].copy_(value)
            elif path.startswith("best/"):
                self._best[path.removeprefix("best/")] = value.clone()


def best(rows: Rows) -> int:
    """Which of the validations, at least one, has the lowest loss; the first of those that are equal."""
    return min(range(len(rows)), key=lambda number: rows[number]["validation_loss_nats"]) if rows else -1
