"""Being asked to stop, politely: the training finishes its step, saves, and leaves with a message."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """`asked` is the name of the signal that came, or empty."""

    def __init__(self) -> None:
        self.asked = ""

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; after one, Ctrl-C does not wait for the end of the step. Launchers repeat their SIGTERM."""
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name


@contextmanager
def listening() -> Iterator[Stop]:
    """Inside, SIGINT and SIGTERM only ask; outside a program's main thread nothing changes."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
