"""Which rows stand in which batch, computed place by place: batch one million costs what batch one does.

A Feistel network permutes the numbers below a power of four, keyed by a hash; numbers that fall outside of the range
are sent through again until they are inside (cycle walking; Black and Rogaway 2002).
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 6
_MIX = np.uint64(0x9E3779B97F4A7C15)


def drawn(step: int, rows: slice, *, sequences: int, count: int, seed: int) -> NDArray[np.int64]:
    """Which of `count` numbers stand in some `rows` of batch `step` of `sequences`; an epoch may end inside of it."""
    places = np.arange(step * sequences, (step + 1) * sequences, dtype=np.int64)[rows]
    chosen = np.empty_like(places)
    for epoch in np.unique(places // count):
        inside = places // count == epoch
        chosen[inside] = shuffled(places[inside] % count, count=count, key=f"{seed} {epoch}")
    return chosen


def spread(count: int, wanted: int, *, at_once: int) -> Iterator[NDArray[np.int64]]:
    """`wanted` numbers below `count`, at least one and at most all, in even steps, `at_once` at a time."""
    wanted = min(count, max(1, wanted))
    numbers = np.arange(wanted, dtype=np.int64) * count // wanted
    for start in range(0, wanted, at_once):
        yield numbers[start : start + at_once]


def shuffled(places: NDArray[np.int64], *, count: int, key: str) -> NDArray[np.int64]:
    """Where each of `places` (0 to `count` - 1) goes in the permutation that `key` names."""
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    keys = np.frombuffer(blake2b(key.encode(), digest_size=8 * _ROUNDS).digest(), dtype="<u8")
    found = places.astype(np.uint64)
    outside = np.ones(len(found), dtype=bool)
    while outside.any():
        found[outside] = _feistel(found[outside], np.uint64(half), keys)
        outside = found >= count
    return found.astype(np.int64)


def _feistel(values: NDArray[np.uint64], half: np.uint64, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_scrambled(right ^ key) & mask)
    return (left << half) | right


def _scrambled(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finisher of SplitMix64 (Steele, Lea and Flood 2014); products wrap around."""
    values = values * _MIX
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
