"""What each parameter is, so that an optimizer treats it as what it is.

The role comes from the module that holds a parameter, not from its number of dimensions: a convolution's taps or a
table of biases would otherwise be taken for matrices.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

Role = Literal["matrix", "embedding", "vector"]
"""matrix: maps one hidden state to another. embedding: a table of tokens or places, and the head. vector: the rest."""

ROLES: tuple[Role, ...] = get_args(Role)


def roles(model: nn.Module) -> dict[str, Role]:
    """Each parameter's role by its name, in the model's order; a parameter that is shared appears once."""
    head = getattr(model, "unembedding_VD", None)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found: dict[str, Role] = {}
    for module in model.modules():
        for own, parameter in module.named_parameters(recurse=False):
            found.setdefault(names[parameter], "embedding" if parameter is head else _role(module, own))
    return {name: found[name] for name in names.values()}


def _role(module: nn.Module, name: str) -> Role:
    if isinstance(module, nn.Embedding):
        return "embedding"
    if isinstance(module, nn.Linear):
        return "matrix" if name == "weight" else "vector"
    return "matrix" if name in getattr(module, "matrices", ()) else "vector"
