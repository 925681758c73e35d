"""The one way by which anything but a person starts dvc.

`started` runs stages through ``dvc --wait-for-lock repro --single-item``: exactly the stages that are named, in that
order, each only if it changed; who drives the graph (Dagster, say) decides what comes before. Or all of them. It waits
its turn and says for whom, passes on what dvc prints, line by line, and knows afterwards what became of each stage.
Leaving the block early, by any exception, a signal or this process's death, ends everything it started; see `keeper`.

    with runner.started(root, "design", "corpus") as run:
        for line in run:
            print(line)
    run.outcomes  # {"design": "unchanged", "corpus": "restored"}

In a terminal ``run.watch()`` shows dvc as it is.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pipelines.dagster_dvc import graph, lockfile, runcache, turn

Outcome = Literal["executed", "restored", "unchanged"]

# What dvc says as it comes to a stage, and what that means.
TELLS: tuple[tuple[re.Pattern[str], Outcome], ...] = (
    (re.compile(r"Running stage '(.+)':$"), "executed"),
    (re.compile(r"Stage '(.+)' is cached - skipping run, checking out outputs$"), "restored"),
    (re.compile(r"(?:Stage )?'(.+)' didn't change, skipping$"), "unchanged"),
    (re.compile(r"Verifying (?:outputs|data sources) in (?:frozen )?stage: '(.+)'$"), "unchanged"),
)
STOPPED_WITH = re.compile(r"failed to run: .*, exited with (-?\d+)$")
FAULTS = (signal.SIGKILL, signal.SIGBUS)  # no memory left, no room behind a mapped file: never what a stage does itself
BUSY = "is busy, it is being blocked by:"
KEPT_LINES = 40
PULSE_SECONDS = 1.0  # between two looks at a stage that says nothing
REDRAW_SECONDS = 10.0  # between two lines that show how far a progress bar is


class DvcError(Exception):
    """dvc ended with an error: its exit code and the last lines that were printed."""

    def __init__(self, code: int, lines: list[str]):
        self.code = code
        self.lines = lines
        super().__init__("\n".join([f"dvc ended with exit code {code}", *lines]))

    @property
    def is_fault(self) -> bool:
        """Whether the machine ended it, and not what the stage does: then it may go better another time."""
        told = [int(found[1]) for line in self.lines if (found := STOPPED_WITH.search(line))]
        return any(code in (-number, 128 + number) for code in (self.code, *told) for number in FAULTS)


class Run:
    """Stages on their way: the lines that are printed, and the outcome of each stage that dvc has come to.

    command: what dvc is told. names: the stages that this is about, all without any; None where it is about a copy of
    the project, in which nobody else works.
    """

    def __init__(self, root: Path, command: tuple[str, ...], names: tuple[str, ...] | None):
        self.outcomes: dict[str, Outcome] = {}
        self._root = root
        self._command = command
        self._names = names
        self._process: subprocess.Popen[bytes] | None = None

    def __iter__(self) -> Iterator[str]:
        """Lines, until all is done; DvcError if dvc failed. Iterated once.

        An empty one each `PULSE_SECONDS` in which nothing was said, so that who iterates can look elsewhere.
        """
        while True:
            yield from self._turn()
            self._start(subprocess.PIPE)
            last: deque[str] = deque(maxlen=KEPT_LINES)
            for line in self._lines():
                if line:
                    self._notice(line)
                    last.append(line)
                yield line
            code = self._wait()
            if code == 0:
                return
            mended = runcache.mend(self._root)
            yield from mended
            busy = any(BUSY in line for line in last)  # another dvc may have come first: then wait again
            if not (mended or busy):
                raise DvcError(code, list(last))

    def stop(self) -> None:
        """End what is running, and come back when nothing of it is left."""
        if self._process:
            self._process.send_signal(signal.SIGTERM)  # not sent to one that has ended
            self._wait()

    def watch(self) -> int:
        """As iterating, but all is printed where this process prints, with progress bars drawn. Gives the exit code."""
        if not self._names and turn.is_free(self._root):  # the common case, in half the time
            code = self._start(None).wait()
            told = [*lockfile.mend(self._root), *runcache.mend(self._root)] if code else []
            if not code or (not told and turn.is_free(self._root)):
                return code
            for line in told:
                print(line, file=sys.stderr)
        while True:
            try:
                for line in self._turn():
                    print(line, file=sys.stderr)
            except DvcError as error:
                print(*error.lines, sep="\n", file=sys.stderr)
                return error.code
            code = self._start(None).wait()
            if not code or turn.is_free(self._root):  # else another dvc may have come first: then wait again
                return code

    def _turn(self) -> Iterator[str]:
        """Wait until dvc can run; where dvc's files cannot be read, dvc says so best itself."""
        if self._names is None or not (self._root / ".dvc").is_dir():
            return
        try:
            yield from turn.await_turn(self._root, [])  # while somebody writes, nobody can tell what the stages are
            try:
                declared = graph.settled(self._root)
            except graph.UnreadableError:
                yield from lockfile.mend(self._root)
                declared = graph.settled(self._root)
        except turn.BookError as error:
            raise DvcError(1, [str(error)]) from None
        except graph.UnreadableError:
            return
        for name in self._names:
            if name not in declared:
                raise DvcError(1, [f"no stage {name!r} in {self._root}; there are {', '.join(declared)}"])
        yield from turn.await_turn(self._root, [declared[name] for name in self._names or declared])

    def _start(self, output: int | None) -> subprocess.Popen[bytes]:
        keeper = [sys.executable, "-P", str(Path(__file__).with_name("keeper.py")), str(os.getpid())]
        self._process = subprocess.Popen(
            [*keeper, sys.executable, "-m", "dvc", "--wait-for-lock", *self._command],
            cwd=self._root,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            start_new_session=True,
        )
        return self._process

    def _lines(self) -> Iterator[str]:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe, rest, drawn, said = self._process.stdout.fileno(), b"", "", time.monotonic()
        while True:
            ready = select.select([pipe], [], [], PULSE_SECONDS)[0]
            if ready:
                chunk = os.read(pipe, 65536)
                *whole, rest = (rest + chunk).split(b"\n")
                yield from map(_drawn, [*whole, rest] if rest and not chunk else whole)
                if not chunk:
                    return
                rest = rest[max(0, rest.rfind(b"\r", 0, -1)) :]  # of a progress bar, how it was drawn last
                said = time.monotonic() if whole else said
            if time.monotonic() - said > REDRAW_SECONDS and _drawn(rest) != drawn:
                drawn, said = _drawn(rest), time.monotonic()
                yield drawn
            elif not ready:
                yield ""

    def _notice(self, line: str) -> None:
        for pattern, outcome in TELLS:
            if found := pattern.match(line):
                self.outcomes[found[1]] = outcome

    def _wait(self) -> int:
        assert self._process is not None
        if self._process.stdout and not self._process.stdout.closed:
            with self._process.stdout as unread:
                unread.read()  # else its writer would wait for a reader
        return self._process.wait()


@contextmanager
def started(root: str | os.PathLike[str], *names: str, options: tuple[str, ...] = ()) -> Iterator[Run]:
    """The named stages, those alone and in that order, or without a name the whole pipeline as ``dvc repro`` would.

    `options` go to ``dvc repro`` as they are (``--force``, ``--pull``). Iterate over the result to run it.
    """
    single = ("--single-item",) if names else ()
    with _stopped(Run(Path(root).resolve(), ("repro", *single, *options, *names), names)) as run:
        yield run


@contextmanager
def experiment(root: str | os.PathLike[str], name: str, changes: Sequence[str]) -> Iterator[Run]:
    """The whole pipeline with other parameters (``model.depth=4``), as the dvc experiment `name`.

    In a copy of what git tracks, so that the files of the project stay as they are. Iterate over the result to run it.
    """
    told = [word for change in changes for word in ("--set-param", change)]
    with _stopped(Run(Path(root).resolve(), ("exp", "run", "--temp", "--name", name, *told), None)) as run:
        yield run


@contextmanager
def _stopped(run: Run) -> Iterator[Run]:
    try:
        yield run
    finally:
        run.stop()


def _drawn(raw: bytes) -> str:
    """A line as a terminal shows it in the end: a progress bar draws itself over and over."""
    return raw.decode(errors="replace").rstrip().rpartition("\r")[2]


def _environment() -> dict[str, str]:
    """This interpreter first on the path, as the ``python`` of a stage's command; lines as they are printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
