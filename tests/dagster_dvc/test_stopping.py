"""Stopping a Dagster run stops the training with it: through real processes, as a person would."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.dagster_dvc.dagster_dev import dagster, prepared, served
from tests.dagster_dvc.test_runner import lives, until
from tests.dagster_dvc.toy import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return prepared(Toy.slow(tmp_path))


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)], ids=lambda number: number.name
)
def test_the_training_ends_with_the_process_that_materializes(toy: Toy, number: signal.Signals) -> None:
    process = dagster(toy, "asset", "materialize", "--select", "slow")
    until(lambda: toy.pids or process.poll() is not None)
    process.send_signal(number)
    process.wait()
    until(lambda: not any(map(lives, toy.pids)))
    assert len(toy.pids) == 1
    assert (toy.root / "saved.txt").exists()


@pytest.mark.slow
def test_the_stop_button_ends_the_training_though_the_definitions_were_loaded_anew_since(toy: Toy) -> None:
    with served(toy) as page:
        run = page.materialize("slow")
        until(lambda: toy.pids)
        toy.edit("slow.py", "import os", "import math, os")
        until(lambda: any("being loaded again" in told for told in page.ticks("dvc_status")))
        time.sleep(5)  # whatever that may do to the run, it has done by then
        assert lives(toy.pids[0])
        page.stop(run)
        until(lambda: not any(map(lives, toy.pids)), seconds=10)
        until(lambda: page.status(run) == "CANCELED")
    assert (toy.root / "saved.txt").exists()
    assert list((toy.root / ".dagster/storage").rglob("*.db")), "history is kept where dagster.yaml says"
