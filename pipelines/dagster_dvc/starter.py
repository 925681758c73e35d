"""Ends a stage whose dvc is gone.

dvc takes no stage along when it is ended alone (SIGTERM, SIGKILL, no memory left): a training would go on that nobody
waits for and nobody records, beside the next one. So a stage looks after its dvc; one that `runner` started looks after
its keeper, which ends it in every other case.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

import psutil

from pipelines.dagster_dvc import turn
from pipelines.dagster_dvc.keeper import PATIENCE_SECONDS

LOOK_SECONDS = 0.5


def watch(output: Path) -> None:
    """From now on this process, which writes `output`, ends soon after the keeper or dvc that started it, if any."""
    if "DVC_STAGE" in os.environ and (starter := _starter(output.resolve())):
        threading.Thread(target=_watch, args=(starter,), daemon=True).start()


def _watch(starter: int) -> None:
    while turn.lives(starter):
        time.sleep(LOOK_SECONDS)
    with contextlib.suppress(OSError):  # whoever would have read it may be gone, too
        print(f"process {starter}, which started this, is gone", file=sys.stderr, flush=True)
    for number, patience_seconds in PATIENCE_SECONDS:
        os.kill(os.getpid(), number)
        time.sleep(patience_seconds)


def _starter(output: Path) -> int | None:
    """The keeper, where there is one; else who stands in dvc's book as the writer of `output`, even if that is gone."""
    above = psutil.Process().parents()
    if keeper := next(filter(_is_keeper, above), None):
        return keeper.pid
    writer = _writer(output)
    is_ours = writer in {process.pid for process in above} or (writer and not turn.lives(writer))
    return writer if is_ours else None


def _writer(output: Path) -> int | None:
    """Who writes `output`, by dvc's book; None where nobody does, or where it cannot be read for a while."""
    for _ in range(10):
        try:
            return next((one.pid for one in turn.entered(Path()) if Path(one.path) == output), None)
        except turn.BookError:  # somebody is just writing it, in place
            time.sleep(LOOK_SECONDS / 10)
    return None


def _is_keeper(process: psutil.Process) -> bool:
    try:
        return any(Path(word).name == "keeper.py" for word in process.cmdline())
    except psutil.Error:
        return False
