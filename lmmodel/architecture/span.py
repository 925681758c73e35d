"""One pass over some tokens: with x, all that a component sees.

The model makes it and all layers share it. It decides what is visible and what is remembered, so that a mixer has one
code path for training, prefill and decoding, and one rule serves packing, ragged padding and continuing: a token sees
what is not later and of the same document. Padding is a document of its own, so nobody ever sees nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmmodel.architecture.state import State, positions_of


class Span:
    """T tokens of B rows, after those that `state` remembers.

    positions_BT: int64, place in its document, 0 where one begins (a recurrent state resets there); [1, T] where rows
    agree. documents_BT: int64, or None for one a row. probing: a health monitor wants costly facts on this pass.
    """

    def __init__(
        self,
        tokens_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        state: State | None = None,
        names: Mapping[nn.Module, str] | None = None,
        probing: bool = False,
    ) -> None:
        self.state, self.probing = state, probing
        self.tokens = tokens_BT.size(1)
        self.losses: dict[str, Tensor] = {}
        self.reports: dict[str, Tensor] = {}
        self.entropies: list[Tensor] = []  # of attention, in nats, where `probing`
        self._names = names or {}
        self._made: dict[Hashable, Any] = {}
        if state is not None:
            self.positions_BT, self.documents_BT = state.place(tokens_BT, documents_BT)
        elif documents_BT is not None:
            self.positions_BT, self.documents_BT = positions_of(documents_BT), documents_BT
        else:
            self.positions_BT = torch.arange(self.tokens, device=tokens_BT.device)[None]
            self.documents_BT = None

    def extend(self, owner: nn.Module, *new_BT: Tensor, last: int | None = None) -> tuple[Tensor, ...]:
        """What `owner` gave in earlier passes and then these, [B, S, ...]; `last`: at most `last` - 1 earlier ones.

        `owner` is the component itself, or one of its sub-modules where it remembers two things.
        """
        return new_BT if self.state is None else self.state.extend(owner, new_BT, last)

    def before(self, owner: nn.Module, new_BT: Tensor, reach: int) -> list[tuple[Tensor, Tensor]]:
        """For 1, 2 to `reach` places back: what stood there, the shape of `new_BT`, and whether it may be seen.

        That is bool [1 or B, T]: false where another document stood there, or nothing. `owner` remembers so many.
        """
        (whole_BS,) = self.extend(owner, new_BT, last=reach + 1)
        sides = (0, 0) * (new_BT.dim() - 2)
        whole_BS = F.pad(whole_BS, (*sides, reach + self.tokens - whole_BS.size(1), 0))
        return [
            (whole_BS[:, reach - back :][:, : self.tokens], self.positions_BT >= back) for back in range(1, reach + 1)
        ]

    def recall(self, owner: nn.Module) -> tuple[Tensor, ...] | None:
        """What `owner` kept in the pass before: a recurrent state of fixed size, tensors that begin with B."""
        return None if self.state is None else self.state.recall(owner)

    def keep(self, owner: nn.Module, *tensors: Tensor) -> None:
        """Remember `tensors` for the next pass, in place of what was kept before."""
        if self.state is not None:
            self.state.keep(owner, tensors)

    def first(self, name: str, value: Tensor) -> Tensor:
        """What the first caller of this pass gave under `name`: for value residuals and embedding shortcuts."""
        first: Tensor = self.once(("first", name), lambda: value)
        return first

    def keys(self, S: int) -> tuple[Tensor, Tensor | None]:
        """positions_BS and documents_BS of the last `S` tokens, those of this pass at the end."""
        if self.state is None:
            return self.positions_BT, self.documents_BT
        positions_BS, documents_BS = self.state.keys(S, self.state.length + self.tokens)
        return positions_BS.to(self.positions_BT.device), documents_BS

    def visible(self, S: int, window: int | None = None) -> Tensor | None:
        """Which of the last `S` tokens each of these T sees: bool [1 or B, T, S], or None for plain causal.

        `window`: the latest so many tokens at most, itself among them. Made once a pass for each S and window.
        """
        if self.is_causal(S, window):
            return None
        return self.once(("mask", S, window), lambda: self._mask(S, window if window and window < S else None))

    def is_causal(self, S: int, window: int | None = None) -> bool:
        """Whether each of these T sees all of the last `S` tokens that are not later, and those are all there is."""
        reaches = window is None or window >= S
        return reaches and self.documents_BT is None and self.tokens in (1, S)

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, made by the first caller of this pass that asks for `key`."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _mask(self, S: int, window: int | None) -> Tensor:
        index_S = torch.arange(S, device=self.positions_BT.device)
        back_TS = index_S[S - self.tokens :, None] - index_S
        mask_TS = back_TS >= 0 if window is None else (back_TS >= 0) & (back_TS < window)
        if self.documents_BT is None:
            return mask_TS[None]
        _, documents_BS = self.keys(S)
        assert documents_BS is not None
        return mask_TS & (self.documents_BT[:, :, None] == documents_BS[:, None, :])

    def report(self, owner: nn.Module, name: str, value: Tensor) -> None:
        """A fact for people and for `adapt`: a sum that adds up over rows, with its own count. Set, not accumulated."""
        self.reports[self._name(owner, name)] = value.detach()

    def add_loss(self, owner: nn.Module, name: str, value_B: Tensor) -> None:
        """A loss of the component's own for each row, already weighted."""
        self.losses[self._name(owner, name)] = value_B

    def _name(self, owner: nn.Module, name: str) -> str:
        return f"{self._names[owner]}.{name}" if owner in self._names else name
