"""Which parameters an optimizer should treat as matrices, as tables, as vectors.

By the module that owns a parameter, not by its number of dimensions: a convolution's taps have two, and are no matrix.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

Role = Literal["matrix", "embedding", "vector"]


def roles(model: nn.Module) -> dict[str, Role]:
    """The role of every parameter, each once: one that is shared goes by the first of its names.

    A linear's weight is a matrix; but the head's turns tokens out and is an embedding, as a table is. A bare parameter
    is a vector unless its class lists it under `matrices` (a stack of matrices counts). Biases are vectors.
    """
    head = getattr(model, "head", None)
    found: dict[str, Role] = {}
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in seen:
                seen.add(parameter)
                found[f"{prefix}.{name}" if prefix else name] = "embedding" if module is head else _role(module, name)
    return found


def _role(module: nn.Module, name: str) -> Role:
    if name in getattr(module, "matrices", ()):
        return "matrix"
    if isinstance(module, nn.Linear) and name == "weight":
        return "matrix"
    return "embedding" if isinstance(module, nn.Embedding) else "vector"
