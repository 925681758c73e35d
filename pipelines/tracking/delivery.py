"""The process that carries a stage's notes to MLflow: `python -m pipelines.tracking.delivery FOLDER PID [--crown]`.

It lives beside the stage and ends within seconds of it. Killed or not, what the stage noted is on disk: whatever could
not be carried is left there for the next process of this kind, or for `lmmodel report`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path

from pipelines.tracking import description
from pipelines.tracking.following import CROWN
from pipelines.tracking.notes import Reader, Record, abandoned
from pipelines.tracking.store import Store, Tracked, is_hopeless

_PULSE_SECONDS = 0.5  # between two looks at the notes: a file, and whether its end has come
_CARRIED_SECONDS = 5.0  # between two visits to the store, while the work goes on
_LONGEST_PAUSE_SECONDS = 30.0
_PATIENCE_SECONDS = 10.0  # with a store that does not answer, once the work is done


class Delivery:
    """One folder of notes on its way into the store. `live`: its work is under way on this machine."""

    def __init__(self, notes: Reader, *, live: bool) -> None:
        self.complete = False
        self._notes = notes
        self._live = live
        self._waiting: list[Record] = []
        self._last: Record = {}
        self._store: Store | None = None
        self._run: Tracked | None = None
        self._meanwhile = ExitStack()

    def read(self) -> None:
        """Take up what was noted since."""
        for record in self._notes.new():
            self._waiting.append(record)
            self._last = record
            self.complete |= "end" in record

    def carry(self) -> None:
        """Carry what there is. Raises what MLflow raises; nothing is lost then, and the next call goes on."""
        while self._waiting:
            try:
                count = self._first()
            except Exception as error:
                if not is_hopeless(error):
                    raise
                print(f"left out: {error}", flush=True)
                count = 1
            del self._waiting[:count]

    def finish(self) -> None:
        """The work is over. Without a word of its own at the end, it was killed."""
        if self._run and not self.complete:
            self._end("KILLED", self._last["time_ms"])

    def _first(self) -> int:
        """Carry the first record, or the points that stand together; how many records that were."""
        first = self._waiting[0]
        self._store = self._store or Store()
        if "begin" in first:
            self._run = self._store.open(first["begin"], first["time_ms"])
            self._draw(first["begin"].get("design"))
            if self._live:
                self._meanwhile.enter_context(self._store.system(self._run))
        elif self._run and "metrics" in first:
            points = list(takewhile(lambda record: "metrics" in record, self._waiting))
            self._store.log(self._run, points)
            return len(points)
        elif self._run and "figures" in first:
            self._store.figures(self._run, first["figures"], first["time_ms"])
        elif self._run and "tags" in first:
            self._store.tag(self._run.run_id, first["tags"])
        elif self._run and "artifact" in first:
            self._store.artifact(self._run, self._notes.artifact(first["artifact"]))
        elif self._run and "checkpoint" in first:
            self._store.checkpoint(self._run, first["checkpoint"])
        elif self._run and "end" in first:
            self._end(first["end"], first["time_ms"])
        return 1

    def _draw(self, design: Record | None) -> None:
        """Describe the run by its design, drawn once for a candidate and all that is nested below it.

        Where it can be drawn: a kind of one's own may be gone, or fail, by now.
        """
        if not design or self._store is None or self._run is None:
            return
        drawing = self._store.drawing(self._run)
        try:
            drawing = drawing or description.design(**design)
        except Exception as error:
            print(f"no drawing: {error}", flush=True)
            return
        self._store.told(self._run.run_id, drawing)

    def _end(self, status: str, time_ms: int) -> None:
        self._meanwhile.close()
        if self._store and self._run:
            self._store.end(self._run, status, time_ms)


def deliver(notes: Reader, *, is_alive: Callable[[], bool] | None = None) -> bool:
    """Carry `notes` to the store, for as long as their writer `is_alive`; whether all of it arrived.

    While the store does not answer, it is asked again, ever more seldom: for as long as the work goes on, and a little
    while longer.
    """
    delivery = Delivery(notes, live=is_alive is not None)
    pause, due, given_up = _PULSE_SECONDS, 0.0, float("inf")
    while True:
        over = is_alive is None or not is_alive()  # asked first: what was noted before the end is read below
        try:
            delivery.read()
            over |= delivery.complete
            if over or time.monotonic() >= due:
                delivery.carry()
                due = time.monotonic() + _CARRIED_SECONDS
            if over:
                delivery.finish()
                notes.discard()
                return True
            pause = _PULSE_SECONDS
        except Exception as error:
            print(f"not yet: {error}", flush=True)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            if over:
                given_up = min(given_up, time.monotonic() + _PATIENCE_SECONDS)
                pause = min(pause, 1.0)
        if time.monotonic() > given_up:
            notes.close()
            return False
        time.sleep(pause)


def deliver_abandoned(folder: Path) -> int:
    """Carry what was left behind below `folder`; how many works' notes arrived. Stops at the first that cannot."""
    count = 0
    for notes in abandoned(folder):
        if not deliver(notes):
            break
        count += 1
    return count


def _crown() -> None:
    from pipelines.tracking import champion

    try:
        champion.crown()
    except Exception as error:
        print(f"no champion: {error}", flush=True)


def main() -> None:
    """Carry one stage's notes while it works, then what others left."""
    folder, writer = Path(sys.argv[1]), int(sys.argv[2])
    os.nice(5)  # the training comes first
    if CROWN in sys.argv[3:]:
        _crown()  # now: what was trained stands in dvc.lock, and nobody writes there until the judge is done
    if deliver(Reader(folder), is_alive=lambda: os.getppid() == writer):
        deliver_abandoned(folder.parent)


if __name__ == "__main__":
    main()
