"""Batch-size warm-up: the first batches are cut in parts, and each part makes an update of its own.

While a model is young, small batches say as much about where to go as large ones (McCandlish and others, 2018, "An
Empirical Model of Large-Batch Training", arXiv:1812.06162; GPT-3 began with 32 thousand tokens). The parts of a batch
become fewer by halves, each number of them over as many batches. So what is learnt from, and in which order, stays as
it was: only the updates are more.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Portions:
    """`batches` whole batches of `rows` rows, of which the first are cut: `cuts` holds (batches, parts of each)."""

    batches: int
    rows: int
    cuts: tuple[tuple[int, int], ...] = ()

    @classmethod
    def growing(cls, batches: int, rows: int, *, first: int, fraction: float) -> Portions:
        """From `first` rows, doubled over `fraction` of the batches; `rows` are `first` times a power of two."""
        doublings = (rows // first).bit_length() - 1
        ends = [round(batches * fraction * n / doublings) for n in range(doublings + 1)] if doublings else []
        stages = zip(ends, ends[1:], range(doublings, 0, -1), strict=False)
        return cls(batches, rows, tuple((end - begin, 2**power) for begin, end, power in stages if end > begin))

    @property
    def steps(self) -> int:
        """Updates in all."""
        return self.step(self.batches)

    def step(self, batch: int) -> int:
        """How many updates the first so many whole batches make."""
        steps = 0
        for count, parts in self.cuts:
            steps, batch = steps + min(batch, count) * parts, batch - min(batch, count)
        return steps + batch

    def place(self, step: int) -> tuple[int, slice]:
        """Which whole batch the update `step` (from 0) is made from, and which of its rows."""
        before = 0
        for count, parts in self.cuts:
            if step < count * parts:
                size = self.rows // parts
                batch, part = divmod(step, parts)
                return before + batch, slice(part * size, (part + 1) * size)
            before, step = before + count, step - count * parts
        return before + step, slice(0, self.rows)

    def rows_before(self, step: int) -> int:
        """Rows that the first `step` updates are made from."""
        batch, rows = self.place(step)
        return batch * self.rows + rows.start
