"""AdamW without a schedule: instead of letting the rate fall, it averages the weights on the way.

Defazio and others, 2024, "The Road Less Scheduled" (arXiv:2405.15682), algorithm 1. There are three sequences: an
iterate that takes the steps, the average of all iterates, and a point between both. Gradients are taken at the point
between, so that is what the model computes with in training; it is put to a test, and kept, at the average.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from lmmodel.learning.decay import Decay, Memory, counted, groups
from lmmodel.params.settings import Positive, Settings

Between = Annotated[Memory, Field(gt=0)]


class Options(Settings):
    """`beta1`: how near to the average gradients are taken. `beta2`: the memory of squares.

    It goes with the schedule `constant`, whose warm-up it needs; the rate may be larger than AdamW's.
    """

    learning_rate: Positive = 5e-3
    weight_decay: Decay = 0.1
    beta1: Between = 0.9
    beta2: Memory = 0.99
    epsilon: Positive = 1e-8


class Optimizer:
    """One optimizer over all roles: `parts` are torch's, whose groups hold every parameter exactly once."""

    schedules: ClassVar[frozenset[str]] = frozenset({"constant"})
    averages: ClassVar[bool] = True
    piecemeal: ClassVar[frozenset[str]] = frozenset({"matrix", "embedding", "vector"})

    def __init__(
        self, options: Options, parameters: Mapping[str, Sequence[nn.Parameter]], *, dtype: torch.dtype
    ) -> None:
        decaying = groups(parameters, "matrix", "embedding", weight_decay=options.weight_decay)
        self.parts: tuple[torch.optim.Optimizer, ...] = (Averaging(decaying, options),)


class Averaging(torch.optim.Optimizer):
    """A parameter is the point between; `iterate` is remembered, and the average follows from the two.

    Iterates count by the square of their rate, so that a warm-up's hardly do.
    """

    def __init__(self, params: list[dict[str, Any]], options: Options) -> None:
        super().__init__(params, {"lr": options.learning_rate})
        self.beta1, self.beta2, self.epsilon = options.beta1, options.beta2, options.epsilon

    def averaged(self, parameter: nn.Parameter) -> Tensor:
        """The average that `parameter` is on the way to; itself where it never had a gradient."""
        state = self.state.get(parameter)
        return parameter.lerp(state["iterate"], 1 - 1 / self.beta1) if state else parameter

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group["lr"], group["weight_decay"])

    def _move(self, parameter: nn.Parameter, rate: float, decay: float) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["iterate"], state["square"] = parameter.clone(), torch.zeros_like(parameter)
            state["weight"] = torch.tensor(0.0, dtype=torch.float64)
        rate *= math.sqrt(1 - self.beta2 ** counted(state))
        state["square"].mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        average = self.averaged(parameter)
        state["iterate"].addcdiv_(gradient, state["square"].sqrt().add_(self.epsilon), value=-rate)
        state["iterate"].add_(parameter, alpha=-rate * decay)
        weight = float(state["weight"]) + rate**2
        state["weight"] = torch.tensor(weight, dtype=torch.float64)
        average.lerp_(state["iterate"], rate**2 / weight if weight else 0.0)
        parameter.copy_(state["iterate"].lerp(average, self.beta1))
