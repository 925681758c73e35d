"""Only the sign of a momentum: every weight moves by the same amount, up or down.

Chen and others, 2023, "Symbolic Discovery of Optimization Algorithms" (arXiv:2302.06675). It remembers one number a
weight, half of what Adam does. Signs make larger steps than Adam's: the paper takes a learning rate 3 to 10 times
smaller and a weight decay as much larger, which is where the defaults come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from lmmodel.learning.decay import Decay, Memory, groups
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """`learning_rate` is the step of each weight; `beta1` weighs momentum against gradient, `beta2` is its memory."""

    learning_rate: Positive = 5e-4
    weight_decay: Decay = 0.5
    beta1: Memory = 0.9
    beta2: Memory = 0.99


class Optimizer:
    """One optimizer over all roles: `parts` are torch's, whose groups hold every parameter exactly once."""

    piecemeal: ClassVar[frozenset[str]] = frozenset({"matrix", "embedding", "vector"})

    def __init__(
        self, options: Options, parameters: Mapping[str, Sequence[nn.Parameter]], *, dtype: torch.dtype
    ) -> None:
        decaying = groups(parameters, "matrix", "embedding", weight_decay=options.weight_decay)
        self.parts: tuple[torch.optim.Optimizer, ...] = (Signs(decaying, options),)


class Signs(torch.optim.Optimizer):
    """The sign of a mean of momentum and gradient; the momentum itself follows more slowly."""

    def __init__(self, params: list[dict[str, Any]], options: Options) -> None:
        super().__init__(params, {"lr": options.learning_rate})
        self.beta1, self.beta2 = options.beta1, options.beta2

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(state["momentum"].lerp(parameter.grad, 1 - self.beta1).sign_(), alpha=-group["lr"])
                state["momentum"].lerp_(parameter.grad, 1 - self.beta2)
