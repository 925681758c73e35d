"""Dialogues that share a row: cut to fit, and put together so that little room is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_OPEN_ROWS = 64  # a dialogue goes into the first of so many rows that has room

Learnt = tuple[NDArray[np.int32], NDArray[np.bool_]]


def fitted(ids: Sequence[int], learn: Sequence[bool], *, context: int) -> Learnt | None:
    """A dialogue cut to `context` + 1 tokens, None where nothing is left to learn.

    Cut at its end; or, where no answer would remain, at its front, behind the first token: the end of a long question
    is what its answer follows.
    """
    room = context + 1
    kept_ids, kept_learn = np.array(ids, dtype=np.int32), np.array(learn, dtype=bool)
    if len(kept_ids) > room:
        if kept_learn[1:room].any():
            kept_ids, kept_learn = kept_ids[:room], kept_learn[:room]
        else:
            first = int(kept_learn.argmax())
            stop = min(len(kept_ids), first + room // 2)
            taken = np.r_[0, np.arange(stop - room + 1, stop)]
            kept_ids, kept_learn = kept_ids[taken], kept_learn[taken]
    return (kept_ids, kept_learn) if kept_learn[1:].any() else None


def packed(lengths: Sequence[int], order: Iterable[int], *, room: int) -> list[list[int]]:
    """Which members share a row of `room` places: taken in `order`, each into the first open row that it fits in."""
    rows: list[list[int]] = []
    opened: list[tuple[int, int]] = []  # row, room left
    for member in order:
        length = lengths[member]
        for place, (row, left) in enumerate(opened):
            if length <= left:
                rows[row].append(member)
                opened[place] = (row, left - length)
                break
        else:
            rows.append([member])
            opened.append((len(rows) - 1, room - length))
        opened = [(row, left) for row, left in opened if left > 0][-_OPEN_ROWS:]
    return rows
