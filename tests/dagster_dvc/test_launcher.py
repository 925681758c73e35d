"""A run whose process went with all of Dagster is missed, and does not keep others from their turn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher.base import WorkerStatus

from pipelines.dagster_dvc import launcher
from tests.dagster_dvc.dagster_dev import prepared, served
from tests.dagster_dvc.test_retries import trained, worker
from tests.dagster_dvc.test_runner import lives, until
from tests.dagster_dvc.toy import Toy


def status(pid: int | None) -> WorkerStatus:
    """What becomes of a run that process `pid` said it would do."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions(jobs=[dg.job(name="work")(lambda: None)]).get_job_def("work")
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        if pid is not None:
            instance.report_engine_event(f"{launcher.SAID} (pid: {pid}).", run, EngineEventData.in_process(pid))
        watched = launcher.WatchedRunLauncher()
        watched.register_instance(instance)
        return watched.check_run_worker_health(run).status


def test_a_run_is_missed_when_its_process_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert status(None) == WorkerStatus.RUNNING
    assert status(os.getpid()) == WorkerStatus.RUNNING
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert status(process.pid) == WorkerStatus.FAILED
    monkeypatch.setattr(launcher, "SLACK_SECONDS", -1e9)  # as if that number had been given to a younger one
    assert status(os.getpid()) == WorkerStatus.FAILED


@pytest.mark.slow
def test_a_training_that_went_with_all_of_dagster_is_started_again_by_the_next(tmp_path: Path) -> None:
    """Its place in the pool is given back: otherwise no training would ever begin again."""
    toy = prepared(Toy.slow(tmp_path))
    toy.edit("dvc.yaml", "outs: [slow.txt]", "outs: [slow.txt]\n    meta: {dagster: {pool: device}}")
    toy.edit("dagster.yaml", "poll_interval_seconds: 20", "poll_interval_seconds: 2")
    toy.edit("dagster.yaml", "run_end_seconds: 30", "run_end_seconds: 2")
    with served(toy) as page:
        run, pid = trained(toy, page)
        os.killpg(os.getpgid(worker(pid)), signal.SIGKILL)
        until(lambda: not lives(pid), seconds=10)
    toy.write({"go": ""})
    with served(toy) as page:
        until(lambda: page.status(run) == "FAILURE")
        until(lambda: page.started_again(run) == ["SUCCESS"], seconds=120)
    assert len(toy.pids) == 2
    assert "slow.txt" in toy.lock
