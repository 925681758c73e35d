"""A stage that a person's own `dvc repro` started, or a keeper, ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipelines.dagster_dvc import runner
from tests.dagster_dvc.test_runner import lives, starter, until
from tests.dagster_dvc.toy import Toy, environment

TREE = str(Path(runner.__file__).parents[2])


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """One slow stage that looks after whoever started it."""
    monkeypatch.setenv("PYTHONPATH", TREE)
    toy = Toy.slow(tmp_path)
    watched = 'pathlib\nfrom pipelines.dagster_dvc import starter\nstarter.watch(pathlib.Path("slow.txt"))'
    toy.edit("slow.py", "import os, pathlib, signal, subprocess, sys, time", f"import os, signal, sys, time, {watched}")
    return toy


def begun(toy: Toy, *command: str, **more: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command, cwd=toy.root, env={**environment(), **more}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: toy.pids)
    return process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_stage_saves_and_ends_when_its_dvc_is_gone(toy: Toy, number: signal.Signals) -> None:
    process = begun(toy, sys.executable, "-m", "dvc", "repro")
    process.send_signal(number)  # and nobody takes note of its end: a zombie is as good as gone
    until(lambda: not lives(toy.pids[0]), seconds=10)
    process.wait()
    assert (toy.root / "saved.txt").exists()


def test_a_stage_saves_and_ends_when_its_keeper_is_gone(toy: Toy) -> None:
    process = starter(toy)
    above = psutil.Process(toy.pids[0]).parents()
    next(one for one in above if any(word.endswith("keeper.py") for word in one.cmdline())).kill()
    until(lambda: not lives(toy.pids[0]), seconds=10)
    process.wait()
    assert (toy.root / "saved.txt").exists()


def test_a_stage_that_no_dvc_started_is_left_in_peace(toy: Toy) -> None:
    """Also where the environment speaks of one, and where somebody else's dvc is at the same files."""
    toy.write({".dvc/tmp/rwlock": f'{{"write": {{"{toy.root}/slow.txt": {{"pid": {os.getppid()}, "cmd": "dvc"}}}}}}'})
    with begun(toy, sys.executable, "slow.py", DVC_STAGE="slow") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        toy.write({"go": ""})
    assert process.returncode == 0
