"""How fast a training is and how long it still takes. For people: nothing that is kept depends on it."""

from __future__ import annotations

import time
from collections import deque


class Pace:
    """Over the last steps; the first, which may have waited for the compiler, only counts until there is another."""

    def __init__(self, tokens: int) -> None:
        self.left = tokens
        self._marks: deque[tuple[float, int]] = deque([(time.perf_counter(), tokens)], maxlen=21)
        self._first = True

    def step(self, tokens: int) -> tuple[float, float]:
        """A step of `tokens` is done: tokens a second, and seconds left."""
        self.left -= tokens
        self._marks.append((time.perf_counter(), self.left))
        (began, then), (now, left) = self._marks[0], self._marks[-1]
        if self._first:
            self._marks.popleft()
            self._first = False
        speed = (then - left) / (now - began)
        return speed, self.left / speed
