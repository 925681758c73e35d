"""Long work shows how far it is and how long it still takes. Reports only: nothing here reaches an output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

_QUIET_SECONDS = 10.0  # between two lines where the output is a file or a pipe, so that a log stays readable


class Bar:
    """One piece of work under way; made by `bar`."""

    def __init__(self, line: tqdm) -> None:
        self._line = line

    def advance(self, count: float = 1) -> None:
        """`count` more units are done."""
        self._line.update(count)

    def unpause(self) -> None:
        """So far was waiting: speed and time left are those of what comes."""
        line, done = self._line, self._line.n
        line.reset()
        line.initial = line.n = line.last_print_n = done

    def note(self, **figures: object) -> None:
        """Figures to stand behind the bar, such as `loss=2.31`."""
        self._line.set_postfix({name: str(value) for name, value in figures.items()}, refresh=False)

    def say(self, text: str) -> None:
        """A line of text above the bar."""
        self._line.write(text, file=sys.stderr)


@contextmanager
def bar(total: float | None, unit: str, what: str) -> Iterator[Bar]:
    """A bar over `total` units (None: unknown) called `what`, on standard error."""
    terminal = sys.stderr.isatty()
    line = tqdm(
        total=total,
        unit=unit,
        unit_scale=True,
        desc=what,
        dynamic_ncols=terminal,
        mininterval=0.2 if terminal else _QUIET_SECONDS,
        maxinterval=_QUIET_SECONDS,
        file=sys.stderr,
        leave=True,
        ascii=None if terminal else " =",
    )
    with line:
        yield Bar(line)
