"""Initial values, each parameter's drawn from a generator of its own.

The generator is seeded by (seed, the parameter's name): designs that share a component start equal, and neither a
parameter that is added nor the number of processes shifts anything. Values are drawn on a CPU in float32 and rounded,
so that they are the same on every device and in every precision.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from lmmodel.architecture.declaration import Initial


def draw(model: nn.Module, *, seed: int, initial: Initial, depth: int) -> None:
    """Give every parameter of `model` its initial value, in place.

    A module sets its own by `initialise(generator)`, where it has that. Tables and linears are normal with the declared
    deviation, biases 0. A linear named `out` writes to the residual stream: its deviation is divided by sqrt(2 depth)
    (Radford and others, 2019), or it is zero. Stacks that a module lists under `matrices` are drawn as linears are.
    Others have torch's `reset_parameters`; the constructor's values stand where neither exists.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for name, module in model.named_modules():
            for stack in getattr(module, "matrices", ()):
                bare = stack.rpartition("_")[0]  # without the letters of its shape: out_EDF is an `out`
                _draw_stack(module, stack, f"{name}.{stack}", seed, _deviation(f"{name}.{bare}", initial, depth))
            if hasattr(module, "initialise"):
                module.initialise(generator(seed, name))
            elif isinstance(module, nn.Linear | nn.Embedding):
                _draw_matrix(module, f"{name}.weight", seed, _deviation(name, initial, depth))
            elif hasattr(module, "reset_parameters"):
                torch.manual_seed(_number(seed, name))
                module.reset_parameters()


def generator(seed: int, name: str) -> torch.Generator:
    """The generator of what is called `name`."""
    return torch.Generator().manual_seed(_number(seed, name))


def _number(seed: int, name: str) -> int:
    return int.from_bytes(sha256(f"{seed}:{name}".encode()).digest()[:7])


def _deviation(name: str, initial: Initial, depth: int) -> float:
    if name.rpartition(".")[2] != "out" or initial.outputs == "plain":
        return initial.std
    return 0.0 if initial.outputs == "zero" else initial.std / (2 * depth) ** 0.5


def _draw_matrix(module: nn.Linear | nn.Embedding, name: str, seed: int, deviation: float) -> None:
    values = torch.empty(module.weight.shape).normal_(generator=generator(seed, name))
    module.weight.copy_(values * deviation)
    if isinstance(module, nn.Linear) and module.bias is not None:
        module.bias.zero_()


def _draw_stack(module: nn.Module, stack: str, name: str, seed: int, deviation: float) -> None:
    parameter = getattr(module, stack)
    if parameter is not None:
        parameter.copy_(torch.empty(parameter.shape).normal_(generator=generator(seed, name)) * deviation)


class WithoutValues(TorchFunctionMode):
    """Modules made under it keep whatever memory held: for the device "meta", where nothing is held.

    torch draws numbers there too, and loads its compiler to do so: three seconds.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Leave out torch's own initial values; everything else as ever."""
        told = kwargs or {}
        if getattr(function, "__module__", "") == "torch.nn.init":
            return told["tensor"] if "tensor" in told else args[0]
        return function(*args, **told)
