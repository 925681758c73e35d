"""Keeps one command: relays what it prints, and ends it with all its offspring when asked to or when left alone.

``python -P keeper.py PARENT_PID COMMAND...`` runs as the leader of a session, the command as the leader of a process
group in it. SIGINT to dvc alone is ignored while a stage runs, SIGTERM or SIGKILL to it alone leaves the stage running;
only a signal to the whole group reaches both. And only a process that outlives the one that started it can still send
that signal after a ``kill -9``: hence this small program between Dagster and dvc.

It stops on SIGTERM, SIGINT or SIGHUP and when `PARENT_PID` is no longer its parent: SIGINT, so that a training can
save, then SIGTERM, then SIGKILL, until all are gone. Helpers in sessions of their own are spared the first: they may
have a last word to deliver. When the command dies and leaves a stage behind, that is ended in the same way.
Exit code: the command's, or 128 + the signal that ended it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

import psutil

# Together under the 10 s within which a stopped training has to be gone.
PATIENCE_SECONDS = ((signal.SIGINT, 5.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))
LOOK_SECONDS = 0.05
ADOPT_ORPHANS = 36  # Linux: prctl(PR_SET_CHILD_SUBREAPER)


class Keeper:
    """One command and everything it started."""

    def __init__(self, command: list[str], *, parent: int):
        self._parent = parent
        self._told = False
        self._known: dict[int, psutil.Process] = {}
        # Before the command starts: where the signals were ignored, as in a shell's background, it would inherit that.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._hear)
        # A terminal is handed on as it is, so that progress bars are drawn.
        output = None if sys.stdout.isatty() else subprocess.PIPE
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output and subprocess.STDOUT, process_group=0
        )
        self._relay = threading.Thread(target=self._pass_on, daemon=True)

    def keep(self) -> int:
        """Until the command is gone; gives its exit code."""
        self._relay.start()
        while self._child.poll() is None and not self._told and os.getppid() == self._parent:
            time.sleep(LOOK_SECONDS)
        if self._child.poll() != 0:
            self._end_all()
        self._relay.join(timeout=PATIENCE_SECONDS[0][1])
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._told = True

    def _pass_on(self) -> None:
        """Bytes as they come; when nobody reads any more, into nothing: a broken pipe must not end a training."""
        to = sys.stdout.fileno()
        while self._child.stdout and (chunk := os.read(self._child.stdout.fileno(), 65536)):
            try:
                while chunk:
                    chunk = chunk[os.write(to, chunk) :]
            except OSError:
                to = os.open(os.devnull, os.O_WRONLY)

    def _end_all(self) -> None:
        for number, patience_seconds in PATIENCE_SECONDS:
            deadline = time.monotonic() + patience_seconds
            self._signal(number, strays=number != signal.SIGINT)
            while self._living():
                if time.monotonic() > deadline:
                    break
                time.sleep(LOOK_SECONDS)
            else:
                return

    def _signal(self, number: signal.Signals, *, strays: bool) -> None:
        living = self._living()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)
        for process in living if strays else ():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(process.pid) != self._child.pid:
                    process.send_signal(number)

    def _living(self) -> list[psutil.Process]:
        """Every descendant that is not yet gone, those included that once were one and have left."""
        self._child.poll()
        for process in psutil.Process().children(recursive=True):
            self._known.setdefault(process.pid, process)
        self._known = {pid: process for pid, process in self._known.items() if _lives(process)}
        return list(self._known.values())


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _adopt_orphans() -> None:
    """Where the system can (Linux), a stage whose parent died becomes ours, whatever group it is in."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)


def main(arguments: list[str]) -> int:
    """The program."""
    _adopt_orphans()
    return Keeper(arguments[1:], parent=int(arguments[0])).keep()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
