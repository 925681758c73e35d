from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lmmodel.learning.settings import Launch
from pipelines import devices
from tests.project import TREE


@pytest.fixture(autouse=True)
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two GPUs, as far as the environment says, and locks of one's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv(devices.VISIBLE, "3,5")
    monkeypatch.setattr(devices, "_LOOK_SECONDS", 0.01)
    yield
    tempfile.tempdir = None


def visible() -> str:
    return os.environ[devices.VISIBLE]


HOLDER = """
import sys
from lmmodel.learning.settings import Launch
from pipelines import devices
with devices.claimed("pretrain", Launch(device="auto")):
    print(devices.os.environ[devices.VISIBLE], flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Another process with a training, and the GPU that it took."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDER], cwd=TREE, text=True, **pipes) as process:
        assert process.stdout
        yield process.stdout.readline().strip(), process
        process.kill()


def test_each_takes_one_that_no_other_holds_and_the_third_waits(capsys: pytest.CaptureFixture[str]) -> None:
    with holder() as (first, process), holder() as (second, _):
        assert (first, second) == ("3", "5")
        killing = threading.Timer(0.5, process.kill)
        killing.start()
        with devices.claimed("evaluate", Launch(device="auto")):
            assert visible() == "3"
        killing.join()
    assert "evaluate: waiting for 1 of the GPUs 3, 5" in capsys.readouterr().err


def test_a_training_of_several_processes_takes_as_many() -> None:
    with devices.claimed("pretrain", Launch(device="cuda").model_copy(update={"processes": 2})):
        assert visible() == "3,5"
    with devices.claimed("evaluate", Launch(device="cuda").model_copy(update={"processes": 2})):
        assert visible() == "3"
    assert visible() == "3,5"


@pytest.mark.parametrize(
    ("stage", "launch", "environment"),
    [
        ("pretrain", Launch(device="cpu"), {}),
        ("corpus", Launch(device="cuda"), {}),
        ("pretrain", Launch(device="cuda"), {"RANK": "0"}),
        ("pretrain", Launch(device="auto"), {devices.VISIBLE: ""}),
    ],
)
def test_nothing_is_taken_where_nothing_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str, launch: Launch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = visible()
    with devices.claimed(stage, launch):
        assert visible() == before
    assert not list(tmp_path.rglob("gpu-*"))
