"""What follows from the positions of a pass and nothing else: computed by the first that asks, for all of its layers.

It is remembered by the tensor of positions itself, which every component of a pass is given, and forgotten with it: a
kind of position sees no span. What follows from more than that, a mask among it, has the span's own `once`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

Found = TypeVar("Found")

_FOUND = WeakTensorKeyDictionary()


def once(positions_BT: Tensor, key: Hashable, make: Callable[[], Found]) -> Found:
    """What `make` gives for these positions; `key` names it, with all else that it is made from.

    While a model is compiled, by every caller: the compiler finds what is computed twice.
    """
    if torch.compiler.is_compiling():
        return make()
    found = _FOUND.setdefault(positions_BT, {})
    if key not in found:
        found[key] = make()
    return found[key]


def stored(table: Tensor) -> Tensor:
    """The same tensor, which a compiler must write down: one table serves every layer, head and row.

    Inductor would make it anew wherever it is used: sines took three times as long as turning by them.
    """
    return table.as_strided(table.shape, table.stride())
