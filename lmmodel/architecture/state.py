"""What a model remembers between passes while it decodes.

A component never sees this: it asks its Span, which keeps here what the component gave it, by the component's module.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class State:
    """The memory of `batch` rows for at most `capacity` tokens each. Changed in place; every tensor begins with B.

    What it returns is cut from the graph: passes with a state are for decoding, not for training.
    """

    def __init__(self, batch: int, capacity: int) -> None:
        self.batch, self.capacity = batch, capacity
        self.length = 0
        self._held: dict[nn.Module, tuple[Tensor, ...]] = {}
        self._kept: dict[nn.Module, tuple[Tensor, ...]] = {}
        self._places: tuple[Tensor, Tensor] | None = None

    def select(self, rows: Sequence[int] | Tensor) -> State:
        """A state of these rows, in this order, repeats allowed: finished rows, beam search, samples of one prompt."""
        index = torch.as_tensor(rows)
        chosen = State(index.numel(), self.capacity)
        chosen.length = self.length
        chosen._held = {owner: _rows(tensors, index) for owner, tensors in self._held.items()}
        chosen._kept = {owner: _rows(tensors, index) for owner, tensors in self._kept.items()}
        if self._places is not None:
            positions_BS, documents_BS = _rows(self._places, index)
            chosen._places = positions_BS, documents_BS
        return chosen

    def bytes(self) -> int:
        """What all its tensors take, those for tokens to come included."""
        return sum(self.bytes_by_owner().values()) + sum(tensor.nbytes for tensor in self._places or ())

    def bytes_by_owner(self) -> dict[nn.Module, int]:
        """What each component's memory takes."""
        found: dict[nn.Module, int] = {}
        for owner, tensors in (*self._held.items(), *self._kept.items()):
            found[owner] = found.get(owner, 0) + sum(tensor.nbytes for tensor in tensors)
        return found

    # -- for Span and Model -------------------------------------------------------------------------------------------

    def room_for(self, batch: int, tokens: int) -> None:
        """ValueError unless a pass over so many tokens fits."""
        if batch != self.batch:
            raise ValueError(f"the state has {self.batch} rows, the tokens {batch}")
        if self.length + tokens > self.capacity:
            raise ValueError(
                f"the state holds {self.capacity} tokens a row: {self.length} are there, and {tokens} more do not fit"
            )

    def extend(self, owner: nn.Module, new_BT: tuple[Tensor, ...], last: int | None) -> tuple[Tensor, ...]:
        """What `owner` gave in earlier passes (the `last` - 1 latest), then this; remembered for the next pass.

        Without `last` the memory is one buffer for the whole capacity, so that a step copies only what is new.
        """
        new_BT = tuple(tensor.detach() for tensor in new_BT)
        if last is None:
            return self._append(owner, new_BT)
        held = self._held.get(owner)
        both = new_BT if held is None else tuple(torch.cat(pair, dim=1) for pair in zip(held, new_BT, strict=True))
        self._held[owner] = tuple(tensor[:, max(0, tensor.size(1) - last + 1) :].clone() for tensor in both)
        return both

    def _append(self, owner: nn.Module, new_BT: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if owner not in self._held:
            room = (self.batch, self.capacity)
            self._held[owner] = tuple(tensor.new_zeros(room + tensor.shape[2:]) for tensor in new_BT)
        buffers, end = self._held[owner], self.length + new_BT[0].size(1)
        for buffer, tensor in zip(buffers, new_BT, strict=True):
            buffer[:, self.length : end] = tensor
        return tuple(buffer[:, :end] for buffer in buffers)

    def recall(self, owner: nn.Module) -> tuple[Tensor, ...] | None:
        """What `owner` kept in the pass before, of fixed size."""
        return self._kept.get(owner)

    def keep(self, owner: nn.Module, tensors: tuple[Tensor, ...]) -> None:
        """Remember `tensors` in place of what was kept before."""
        self._kept[owner] = tuple(tensor.detach() for tensor in tensors)

    def place(self, tokens_BT: Tensor, documents_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Positions and documents of a pass over `tokens_BT`, noted for later ones.

        Without documents each row goes on with its last one; while nobody named any, rows agree and nothing is noted.
        """
        B, T = tokens_BT.shape
        start, end = self.length, self.length + T
        if documents_BT is None and self._places is None:
            return torch.arange(start, end, device=tokens_BT.device)[None], None
        if self._places is None:
            counted_S = torch.arange(self.capacity, device=tokens_BT.device)
            self._places = (
                counted_S.repeat(B, 1),
                torch.zeros(B, self.capacity, device=tokens_BT.device, dtype=torch.int64),
            )
        positions_BS, documents_BS = self._places
        if documents_BT is None:
            documents_BT = documents_BS[:, start - 1 : start].expand(B, T)
        documents_BS[:, start:end] = documents_BT
        reach = start - 1 if start else 0
        places_BT = positions_of(documents_BS[:, reach:end])
        if start:
            goes_on_BT = places_BT == torch.arange(T + 1, device=tokens_BT.device)
            places_BT = (places_BT + positions_BS[:, reach : reach + 1] * goes_on_BT)[:, 1:]
        positions_BS[:, start:end] = places_BT
        return places_BT, documents_BT

    def keys(self, S: int, end: int) -> tuple[Tensor, Tensor | None]:
        """Positions and documents of the `S` tokens before `end`."""
        if self._places is None:
            return torch.arange(end - S, end)[None], None
        positions_BS, documents_BS = self._places
        return positions_BS[:, end - S : end], documents_BS[:, end - S : end]


def positions_of(documents_BT: Tensor) -> Tensor:
    """Each token's place in its document, from 0; a document is a run of equal numbers."""
    index_T = torch.arange(documents_BT.size(1), device=documents_BT.device)
    begins_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    starts_BT = torch.where(begins_BT, index_T, 0).cummax(dim=1).values
    return index_T - starts_BT


def _rows(tensors: tuple[Tensor, ...], index: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.index_select(0, index.to(tensor.device)) for tensor in tensors)
