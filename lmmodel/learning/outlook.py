"""From a rehearsed step and what a device can do: whether a training fits, and how fast it will be.

A device is three numbers: products a second, bytes a second, and what it takes to start a kernel. Time is their sum, a
roofline without overlap (after Williams, Waterman and Patterson, 2009, "Roofline"). For a machine that is at hand the
three are found from a few timed steps; for another they come from its data sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lmmodel.learning.rehearsal import Rehearsal, Work


@dataclass(frozen=True)
class Rates:
    """Seconds for a floating-point operation of a product, for a byte that a kernel reads or writes, for a kernel."""

    flop_seconds: float
    byte_seconds: float
    kernel_seconds: float

    def seconds(self, work: Work) -> float:
        """How long `work` takes."""
        return (
            work.flops * self.flop_seconds + work.moved_bytes * self.byte_seconds + work.kernels * self.kernel_seconds
        )


def fitted(timed: Sequence[tuple[Work, float]]) -> Rates:
    """The rates, none below 0, that explain measured seconds best: least squares of relative errors."""
    rows_N3 = np.array([[work.flops, work.moved_bytes, work.kernels] for work, _ in timed])
    rows_N3 = rows_N3 / np.array([seconds for _, seconds in timed])[:, None]
    scale_3 = rows_N3.max(axis=0)
    candidates = [_solved(rows_N3 / scale_3, some) for size in (1, 2, 3) for some in combinations(range(3), size)]
    sound = [rates_3 for rates_3 in candidates if (rates_3 >= 0).all()]
    best = min(sound, key=lambda rates_3: float(((rows_N3 / scale_3 @ rates_3 - 1) ** 2).sum()))
    return Rates(*(float(rate) for rate in best / scale_3))


def _solved(rows_N3: np.ndarray, some: tuple[int, ...]) -> np.ndarray:
    """Least squares with the rates of `some` alone; the others are 0."""
    rates_3 = np.zeros(3)
    rates_3[list(some)] = np.linalg.lstsq(rows_N3[:, list(some)], np.ones(len(rows_N3)), rcond=None)[0]
    return rates_3


@dataclass(frozen=True)
class Outlook:
    """A step with any number of rows at once, from rehearsals with one and with two: all but the fixed part is linear.

    narrower: bytes of the activations in proportion to the rehearsed ones, for a device of another precision.
    """

    one: Rehearsal
    two: Rehearsal
    narrower: float = 1.0

    def peak_bytes(self, sequences: int, *, checkpointed: bool = False) -> int:
        """Of all tensors alive at once; `checkpointed`: where layers are computed again on the way back."""
        each = (self.two.part_peak_bytes - self.one.part_peak_bytes) * self.narrower
        part = self._fixed() + sequences * each
        if checkpointed:
            part -= sequences * self.narrower * (self.activation_bytes - self.checkpointed_bytes)
        return round(max(part, self.one.update_peak_bytes))

    def _fixed(self) -> int:
        return 2 * self.one.part_peak_bytes - self.two.part_peak_bytes

    @property
    def activation_bytes(self) -> int:
        """Of one more row."""
        return self.two.activation_bytes - self.one.activation_bytes

    @property
    def checkpointed_bytes(self) -> int:
        """Of one more row, where layers are computed again."""
        return self.two.checkpointed_bytes - self.one.checkpointed_bytes

    def most_sequences(self, memory_bytes: float) -> int:
        """Rows at once that `memory_bytes` hold; 0 where not even one does."""
        if self.peak_bytes(1) > memory_bytes:
            return 0
        each = (self.two.part_peak_bytes - self.one.part_peak_bytes) * self.narrower
        return int((memory_bytes - self._fixed()) // each)

    def step(self, sequences: int, at_once: int) -> Work:
        """A whole step of `sequences` rows, in parts of `at_once`."""
        parts, rest = divmod(sequences, at_once)
        work = self._part(at_once).times(parts) + self.one.update
        return work + self._part(rest) if rest else work

    def _part(self, sequences: int) -> Work:
        one, two = self.one.part, self.two.part
        return one + (two + one.times(-1)).times(sequences - 1)
