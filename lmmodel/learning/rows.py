"""Which rows of a tensor a process holds, which tensors it owns whole, and how one becomes the other.

Rows are dealt as `torch.chunk` deals them: the same number to each process but the last, which may have fewer, or none.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import torch
from torch import Tensor

from lmmodel.learning.crew import Crew


def owners(numbers: Mapping[str, int], processes: int) -> dict[str, int]:
    """For each name the process that owns it, so that all own about as many `numbers`: the largest are dealt first."""
    loads = [(0, rank) for rank in range(processes)]
    found = {}
    for name in sorted(numbers, key=lambda name: -numbers[name]):
        load, rank = heapq.heappop(loads)
        heapq.heappush(loads, (load + numbers[name], rank))
        found[name] = rank
    return {name: found[name] for name in numbers}


class Rows:
    """Tensors by name, with their whole `shapes`; each process holds rows of all, and is the owner of some."""

    def __init__(
        self, shapes: Mapping[str, torch.Size], owners: Mapping[str, int], crew: Crew, *, device: str = "cpu"
    ) -> None:
        self.shapes, self.owners, self._crew, self._device = shapes, owners, crew, device

    def own(self, name: str, rank: int | None = None) -> slice:
        """The rows of `name` that process `rank` holds; None: this one."""
        rank, count = self._crew.rank if rank is None else rank, self.shapes[name][0]
        each = -(-count // self._crew.size)
        return slice(min(count, rank * each), min(count, (rank + 1) * each))

    def to_owners(self, pieces: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of every name that has an owner, its rows here; what is owned here comes back whole."""
        theirs, mine = self._names()
        received = self._exchange(
            [[pieces[name] for name in names] for names in theirs],
            [sum(self._numbers(name, rank) for name in mine) for rank in range(self._crew.size)],
        )
        parts = [self._split(flat, mine, rank) for rank, flat in enumerate(received)]
        return {name: torch.cat([part[name] for part in parts]) for name in mine}

    def from_owners(self, wholes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is owned here, whole; of every name that has an owner its rows here come back."""
        theirs, mine = self._names()
        received = self._exchange(
            [[wholes[name][self.own(name, rank)] for name in mine] for rank in range(self._crew.size)],
            [sum(self._numbers(name, self._crew.rank) for name in names) for names in theirs],
        )
        found: dict[str, Tensor] = {}
        for flat, names in zip(received, theirs, strict=True):
            found |= self._split(flat, names, self._crew.rank)
        return found

    def _names(self) -> tuple[list[list[str]], list[str]]:
        """What each process owns; what this one does."""
        theirs = [[name for name, owner in self.owners.items() if owner == rank] for rank in range(self._crew.size)]
        return theirs, theirs[self._crew.rank]

    def _numbers(self, name: str, rank: int) -> int:
        return _count(self.own(name, rank)) * self.shapes[name][1:].numel()

    def _split(self, flat: Tensor, names: list[str], rank: int) -> dict[str, Tensor]:
        """The rows that process `rank` holds of each of `names`, one after the other."""
        each = flat.split([self._numbers(name, rank) for name in names])
        shapes = [(_count(self.own(name, rank)), *self.shapes[name][1:]) for name in names]
        return {name: one.view(shape) for name, one, shape in zip(names, each, shapes, strict=True)}

    def _exchange(self, given: list[list[Tensor]], expected: list[int]) -> list[Tensor]:
        """Hand process n what is `given` for it, one after the other; from each process `expected` numbers."""
        nothing = torch.empty(0, device=self._device)
        flat = [torch.cat([nothing, *(one.flatten() for one in some)]) for some in given]
        return self._crew.exchanged(flat, expected)


def _count(rows: slice) -> int:
    return rows.stop - rows.start
