"""A file that one living process holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lmmodel import lock
from lmmodel.params.refusal import Refusal
from tests.learning import small

HOLDER = """
import sys, time
from pathlib import Path
from lmmodel import lock
with lock.held(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds `lock` in this test's folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_who_holds_it_is_named_and_nobody_else_works_there(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    wanted = f"process {holder.pid} is at this very work. Wait for it, or stop it: kill {holder.pid}"
    with pytest.raises(Refusal, match=wanted), lock.held(tmp_path / "lock", "pretrain"):
        pytest.fail("two hold it")
    with pytest.raises(Refusal, match=wanted):
        next(small.training(tmp_path).run())
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_another_machines_process_is_named_with_its_machine(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    (tmp_path / "lock").write_text(f"{holder.pid}\nelsewhere\n/project")
    with pytest.raises(Refusal, match=rf"process {holder.pid} on elsewhere is"), lock.held(tmp_path / "lock", "it"):
        pass


def test_what_a_dead_process_held_is_taken_over(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with lock.held(tmp_path / "lock", "it"):
        assert (tmp_path / "lock").read_text().split()[0] == str(os.getpid())


def test_a_child_does_not_hold_what_its_parent_held(tmp_path: Path) -> None:
    with lock.held(tmp_path / "lock", "it"):
        child = subprocess.Popen(["sleep", "30"])
    try:
        with lock.held(tmp_path / "lock", "it"):
            pass
    finally:
        child.kill()
        child.wait()
