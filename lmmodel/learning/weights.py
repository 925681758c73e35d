"""The weights that are computed with, and those that are updated.

In bfloat16 the two differ: products take weights of 8 bits, updates are far smaller than those resolve, so a master of
each weight is kept in float32 (Micikevicius and others, 2017, arXiv:1710.03740). Gradients are summed in float32 too.
Cast once a step, not by autocast in every product: that is worth 4 % of a step on two CPU cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lmmodel.learning import float8
from lmmodel.learning.crew import ALONE, Crew

if TYPE_CHECKING:
    from lmmodel.learning.loss import Objective

DTYPES = {
    "float32": torch.float32,
    "autocast": torch.float32,
    "bfloat16": torch.bfloat16,
    "float8": torch.bfloat16,
}
"""What the weights are in that a model computes with, by the name of the precision."""
PRODUCTS = {**DTYPES, "autocast": torch.bfloat16}
"""What its products are of; where that is float8, but for its layers' linear maps."""


class Weights:
    """`masters` are the learning parameters, by name, in float32: what an optimizer updates and what is kept.

    Where the model computes with float32 they are its own parameters.
    """

    def __init__(self, model: nn.Module, *, precision: str, crew: Crew = ALONE) -> None:
        self._model, self.dtype, self.products, self._crew = model, DTYPES[precision], PRODUCTS[precision], crew
        if precision == "float8":
            float8.narrow(model)
        self.masters: dict[str, nn.Parameter] = {}
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        self._resting: list[tuple[nn.Parameter, Tensor]] = []
        for name, parameter in model.named_parameters():
            master = parameter
            if self.dtype != torch.float32:
                master = nn.Parameter(parameter.detach().clone())
                parameter.data = parameter.data.to(self.dtype)
            if parameter.requires_grad:
                self.masters[name] = master
                self._pairs += [(parameter, master)] if parameter is not master else []
            elif parameter is not master:
                self._resting.append((parameter, master.data))

    def gather(self) -> None:
        """Add to the masters' gradients what a backward pass has left on the model's parameters."""
        for parameter, master in self._pairs:
            if parameter.grad is not None:
                if master.grad is None:
                    master.grad = parameter.grad.float()
                else:
                    master.grad += parameter.grad
                parameter.grad = None

    def sum(self) -> None:
        """Give the masters the gradients of the whole batch, of which every process has gathered its part."""
        self._crew.gradients(self.masters.values())

    def norm(self, own: Tensor) -> Tensor:
        """Of all gradients, from that of the masters here."""
        return own

    def alone(self, objective: Objective, device: str) -> tuple[Objective, str]:
        """What this process can compute without the others, and where: `objective`, on `device`."""
        return objective, device

    @torch.no_grad()
    def publish(self) -> None:
        """Let the model compute with what the masters now are; their gradients are spent."""
        for parameter, master in self._pairs:
            parameter.copy_(master)
        for master in self.masters.values():
            master.grad = None

    @torch.no_grad()
    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Take up values that were kept."""
        for name, master in self.masters.items():
            master.copy_(values[name])
        self.publish()

    @contextmanager
    def at(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside, the model computes with `values`, by name, where there are any; afterwards as before, bit for bit."""
        learning = {name: self._model.get_parameter(name) for name in values}
        before = {name: parameter.data for name, parameter in learning.items()}
        for name, parameter in learning.items():
            parameter.data = values[name].to(self.dtype)
        try:
            yield
        finally:
            for name, parameter in learning.items():
                parameter.data = before[name]

    @torch.no_grad()
    def settle(self, values: Mapping[str, Tensor] = MappingProxyType({})) -> None:
        """Leave the model in float32, its parameters what the masters are, or `values`: the end of training."""
        for name, value in values.items():
            self.masters[name].copy_(value)
        for parameter, master in self._pairs:
            parameter.data = master.data
        for parameter, value in self._resting:
            parameter.data = value
        float8.widen(self._model)
