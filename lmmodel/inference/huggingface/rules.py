"""Which tensors of a published architecture are which of ours, in both directions.

A rule takes some of theirs to some of ours and back without a rounding: it renames, reorders rows, cuts a stack of
matrices apart or puts one together. So what is exported after an import is the same, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Move = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Rule:
    """Tensors `theirs` make `ours` by `read`, and `ours` make `theirs` by `write`, each in its order."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    read: Move = list
    write: Move = list


def same(ours: str, theirs: str) -> Rule:
    """One tensor under two names."""
    return Rule((ours,), (theirs,))


def modules(ours: str, theirs: str, names: Mapping[str, str]) -> Iterator[Rule]:
    """Weight and bias of modules that correspond one to one; `names` stand below the prefixes `ours` and `theirs`."""
    for own, their in names.items():
        for kind in ("weight", "bias"):
            yield same(f"{ours}{own}.{kind}", f"{theirs}{their}.{kind}")


def rows(
    ours: Sequence[str],
    theirs: str,
    *,
    widths: Sequence[int],
    groups: int = 1,
    order: Sequence[int] | None = None,
    transposed: bool = False,
) -> Rule:
    """One matrix (or bias) of theirs that holds the rows of several of ours.

    Its rows are `groups` groups of sum(widths) rows; in each the first widths[0] are those of the first of ours, and so
    on. order: their row numbers as they should stand before that. transposed: a matrix stands as [in, out].
    """

    def read(tensors: Sequence[Tensor]) -> list[Tensor]:
        (whole,) = tensors
        whole = whole.mT if transposed and whole.dim() > 1 else whole
        whole = whole if order is None else whole[torch.tensor(order)]
        parts = whole.unflatten(0, (groups, -1)).split(list(widths), dim=1)
        return [part.flatten(0, 1) for part in parts]

    def write(tensors: Sequence[Tensor]) -> list[Tensor]:
        parts = [part.unflatten(0, (groups, -1)) for part in tensors]
        whole = torch.cat(parts, dim=1).flatten(0, 1)
        whole = whole if order is None else whole[torch.tensor(order).argsort()]
        return [whole.mT if transposed and whole.dim() > 1 else whole]

    return Rule(tuple(ours), (theirs,), read, write)


def stack(ours: str, theirs: Sequence[str]) -> Rule:
    """Matrices of theirs, one an expert, that are one stack of ours."""
    return Rule(
        (ours,), tuple(theirs), lambda tensors: [torch.stack(list(tensors))], lambda tensors: list(tensors[0].unbind())
    )


def channels(ours: str, theirs: str) -> Rule:
    """The taps of a convolution channel by channel: [channels, 1, taps] of theirs."""
    return Rule((ours,), (theirs,), lambda tensors: [tensors[0].squeeze(1)], lambda tensors: [tensors[0].unsqueeze(1)])


def present(rules: Iterator[Rule], names: Collection[str]) -> list[Rule]:
    """Those of `rules` whose tensors a model with parameters called `names` has."""
    return [rule for rule in rules if all(name in names for name in rule.ours)]
