"""Which rows stand in which batch, computed place by place: batch one million costs what batch one does.

A Feistel network permutes the numbers below a power of four, keyed by a hash; numbers that fall outside of the range
are sent through again until they are inside (cycle walking; Black and Rogaway 2002).
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

TURNS = 1024
"""Rows after which every source of a mixture has had its share: so exact are weights."""
_ROUNDS = 6
_MIX = np.uint64(0x9E3779B97F4A7C15)


def drawn(step: int, rows: slice, *, sequences: int, count: int, seed: int) -> NDArray[np.int64]:
    """Which of `count` numbers stand in some `rows` of batch `step` of `sequences`; an epoch may end inside of it."""
    places = np.arange(step * sequences, (step + 1) * sequences, dtype=np.int64)[rows]
    return in_epochs(places, count=count, key=str(seed))


def in_epochs(places: NDArray[np.int64], *, count: int, key: str) -> NDArray[np.int64]:
    """Which of `count` numbers stand at `places` of a row of epochs, each with an order of its own."""
    chosen = np.empty_like(places)
    for epoch in np.unique(places // count):
        inside = places // count == epoch
        chosen[inside] = shuffled(places[inside] % count, count=count, key=f"{key} {epoch}")
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


class Turns:
    """Which source a row comes from, and the how-manieth of it that is: computed place by place.

    Every `TURNS` rows are shared out by the weights, in an order that the seed and the number of the round decide.
    """

    def __init__(self, weights: tuple[float, ...], *, seed: int) -> None:
        exact = np.array(weights) / sum(weights) * TURNS
        shares = np.maximum(1, np.floor(exact)).astype(np.int64)
        for number in np.argsort(shares - exact, kind="stable")[: max(0, TURNS - int(shares.sum()))]:
            shares[number] += 1
        self.shares, self._starts, self._seed = shares, np.concatenate([[0], np.cumsum(shares)]), seed
        self._round = int(shares.sum())

    def of(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each of `places`, counted from the first row of all: the source, and how many of it came before."""
        slots = np.empty_like(places)
        rounds = places // self._round
        for number in np.unique(rounds):
            inside = rounds == number
            key = f"{self._seed} turns {number}"
            slots[inside] = shuffled(places[inside] % self._round, count=self._round, key=key)
        chosen = np.searchsorted(self._starts, slots, side="right") - 1
        return chosen, rounds * self.shares[chosen] + slots - self._starts[chosen]
