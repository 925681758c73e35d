"""Where a number that is not finite came from: the batch once more, module by module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lmmodel.learning.loss import Batch, Losses


def blamed(objective: Callable[[Batch], Losses], model: nn.Module, parts: Iterable[Batch]) -> tuple[str, int | None]:
    """What first was not finite in a batch that comes in `parts`, and in which row, where one alone shows it."""
    before = 0
    for part in parts:
        if cause := first_bad(objective, model, part):
            for row in range(len(part.tokens_BT)):
                own = slice(row, row + 1)
                alone = Batch(**{name: value[own] for name, value in part._asdict().items() if value is not None})
                if first_bad(objective, model, alone) and not cause.startswith("the weights"):
                    return cause, before + row
            return cause, None
        before += len(part.tokens_BT)
    return "no module's output and no gradient of one; the loss itself", None


def first_bad(objective: Callable[[Batch], Losses], model: nn.Module, batch: Batch) -> str:
    """What first was not finite when `batch` goes forward and back, in words; nothing where all was.

    Uncompiled, and gradients are left as they were. A module comes after its parts, so the first that is named is the
    innermost.
    """
    for name, parameter in model.named_parameters():
        if not _finite(parameter):
            return f"the weights {name} already hold {_what(parameter)}"
    found: list[str] = []
    hooks = [module.register_forward_hook(_watch(name, found)) for name, module in model.named_modules() if name]
    gradients = {parameter: parameter.grad for parameter in model.parameters()}
    try:
        objective(batch).total.backward()
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
    return found[0] if found else ""


def _watch(name: str, found: list[str]) -> Callable[[nn.Module, Any, Any], None]:
    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        for tensor in tensors(output):
            if not _finite(tensor):
                found.append(f"the output of {name} ({type(module).__module__}) holds {_what(tensor)}")
            elif tensor.requires_grad:
                tensor.register_hook(back)

    def back(gradient: Tensor) -> None:
        if not _finite(gradient):
            found.append(f"all outputs are finite, but the gradient that comes back to {name} holds {_what(gradient)}")

    return look


def tensors(told: Any) -> Iterator[Tensor]:
    """Those that a module or an operation was given or gave, which come alone or in lists."""
    if isinstance(told, Tensor):
        yield told
    elif isinstance(told, list | tuple):
        for part in told:
            yield from tensors(part)


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _what(tensor: Tensor) -> str:
    return "nan" if bool(torch.isnan(tensor).any()) else "inf"
