"""How fast a training is and how long it still takes. For people: nothing that is kept depends on it."""

from __future__ import annotations

import time
from collections import deque


class Pace:
    """Over the last steps; the first, which may have waited for the compiler, only counts until there is another."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self._ends: deque[float] = deque([time.perf_counter()], maxlen=21)
        self._first = True

    def step(self, tokens: int) -> tuple[float, float]:
        """A step of `tokens` is done: tokens a second, and seconds left."""
        self.left -= 1
        self._ends.append(time.perf_counter())
        each = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        if self._first:
            self._ends.popleft()
            self._first = False
        return tokens / each, self.left * each
