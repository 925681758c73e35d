"""What Dagster starts again by itself: what the machine ended, and neither what failed nor what a person stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.dagster_dvc.dagster_dev import Page, prepared, served
from tests.dagster_dvc.test_runner import lives, until
from tests.dagster_dvc.toy import Toy


def trained(toy: Toy, page: Page) -> tuple[str, int]:
    """A run that was started by the button, and its training's process, once that is under way."""
    before = len(toy.pids)
    run = page.materialize("slow")
    until(lambda: len(toy.pids) == before + 1, seconds=120)
    return run, toy.pids[before]


def worker(pid: int) -> int:
    """The process that carries out the run to which the process `pid` belongs."""
    above = psutil.Process(pid).parents()
    return next(one.ppid() for one in above if any(Path(word).name == "keeper.py" for word in one.cmdline()))


@pytest.mark.slow
def test_what_the_machine_ended_is_started_again_and_nothing_else(tmp_path: Path) -> None:
    """The two that stay as they ended come first: Dagster looks at runs in the order in which they ended."""
    toy = prepared(Toy.slow(tmp_path))
    with served(toy) as page:
        failed, pid = trained(toy, page)
        os.kill(pid, signal.SIGINT)  # on which it saves, and ends with 1
        until(lambda: page.status(failed) == "FAILURE")
        stopped, pid = trained(toy, page)
        page.stop(stopped)
        until(lambda: page.status(stopped) == "CANCELED")
        assert not lives(pid)

        lost, pid = trained(toy, page)
        os.kill(worker(pid), signal.SIGKILL)
        until(lambda: page.status(lost) == "FAILURE")
        until(lambda: len(toy.pids) == 4, seconds=120)
        assert not lives(pid)
        os.kill(toy.pids[3], signal.SIGKILL)  # within that run: no memory left, as far as anybody can tell
        until(lambda: len(toy.pids) == 5, seconds=120)
        toy.write({"go": ""})
        until(lambda: page.started_again(lost) == ["SUCCESS"])
        assert [page.started_again(run) for run in (failed, stopped)] == [[], []]
    assert len(toy.pids) == 5
    assert "slow.txt" in toy.lock
