"""Whether an optimizer would find every parameter, each once and in a role that it can take.

A parameter that hides in a plain list is trained by nobody; one that two modules share is whatever its first owner
says; a vector among the matrices stops Muon at its first step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

import torch
from torch import nn

from lmmodel.architecture.finding import Failed
from lmmodel.architecture.model import Model
from lmmodel.architecture.roles import Role, roles
from lmmodel.learning.families import OPTIMIZER
from lmmodel.params.kinds import Chosen


def in_groups(model: Model, optimizer: Chosen) -> str:
    """Each group with the parameters in it; Failed where one is in none, in two, or in one that cannot take it."""
    for module, name in _hidden(model):
        raise Failed(f"{name} is a parameter that no optimizer finds: it stands in a plain attribute or list", module)
    _refuse_two_roles(model)
    by_name = roles(model)
    for name, parameter in model.named_parameters():
        if by_name[name] == "matrix" and parameter.dim() < 2:
            raise Failed(f"{name} is a vector, and counts as a matrix: see `matrices`", name.rpartition(".")[0])
    _refuse_uneven(model, by_name, optimizer)
    return _told(by_name)


def _hidden(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Parameters, and modules with parameters, that a module holds without registering them."""
    known = {*model.parameters()}
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_"):
                continue
            for found in _parameters(value):
                if found not in known:
                    yield prefix, f"{prefix}.{name}"


def _parameters(value: Any) -> Iterator[nn.Parameter]:
    if isinstance(value, nn.Parameter):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _parameters(item)


def _refuse_two_roles(model: Model) -> None:
    """Failed where modules that share a parameter do not agree on what it is."""
    first: dict[nn.Parameter, tuple[str, Role]] = {}
    for prefix, module in model.named_modules():
        own = roles(module)
        for name, parameter in module.named_parameters(recurse=False):
            role: Role = "embedding" if module is model.head else own[name]
            other, before = first.setdefault(parameter, (f"{prefix}.{name}", role))
            if before != role:
                raise Failed(f"{prefix}.{name} is a {role}, and as {other} a {before}: it has two roles", prefix)


def _refuse_uneven(model: Model, by_name: dict[str, Role], optimizer: Chosen) -> None:
    """Failed where the optimizer's own groups do not hold each parameter exactly once."""
    parameters = dict(model.named_parameters())
    by_role = {role: [parameters[name] for name in by_name if by_name[name] == role] for role in get_args(Role)}
    parts = OPTIMIZER.load(optimizer.kind, optimizer.file)(optimizer.options, by_role, dtype=torch.float32).parts
    times = Counter(id(parameter) for part in parts for group in part.param_groups for parameter in group["params"])
    for name, parameter in parameters.items():
        if times[id(parameter)] != 1:
            raise Failed(f"{name} is in {times[id(parameter)]} groups of {optimizer.kind}", name.rpartition(".")[0])


def _told(by_name: dict[str, Role]) -> str:
    """`matrix: attention.query.weight, ...; vector: ...`, layers that are alike named once."""
    lines = []
    for role in get_args(Role):
        names = dict.fromkeys(_short(name) for name, found in by_name.items() if found == role)
        if names:
            lines.append(f"{role}: {', '.join(names)}")
    return "; ".join(lines)


def _short(name: str) -> str:
    """Without the layer's number, and without the word that every one of torch's own parameters bears."""
    words = name.split(".")
    words = words[2:] if words[0] in ("layers", "ahead") else words
    return ".".join(words).removesuffix(".weight")
