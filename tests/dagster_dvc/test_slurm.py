"""Dagster's runs as jobs of Slurm, with stand-ins for its three commands that run the jobs here."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from pipelines.dagster_dvc.slurm import JOB, SlurmError, SlurmRunLauncher
from tests.dagster_dvc.dagster_dev import prepared, served
from tests.dagster_dvc.test_runner import lives, until
from tests.dagster_dvc.toy import Toy

COMMANDS = {
    # A job's number is its process's; an option that is not one of sbatch's is refused, as sbatch does.
    "sbatch": """
        script=$(mktemp); cat > "$script"
        for word in "$@"; do
            case "$word" in
                --parsable|--no-requeue|--chdir=*|--job-name=*|--gpus=1) ;;
                --output=*) output="${word#--output=}" ;;
                *) echo "sbatch: unrecognized option '$word'" >&2; exit 1 ;;
            esac
        done
        test -e "$0.down" && { echo "sbatch: error: Unable to contact slurm controller" >&2; exit 1; }
        setsid bash "$script" > "${output/\\%j/job}" 2>&1 < /dev/null &
        echo "$!;cluster"
        """,
    "squeue": """
        test -e "$0.down" && { echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }
        job=${2#--jobs=}
        kill -0 "$job" 2> /dev/null || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }
        cat "$0.state" 2> /dev/null || echo RUNNING
        """,
    "scancel": 'kill -TERM -- -"$1"\n',
}
LAUNCHER = """\
run_launcher:
  module: pipelines.dagster_dvc.slurm
  class: SlurmRunLauncher
  config: {options: [--gpus=1], setup: "export SLURM_JOB_ID=1", logs: logs}
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the commands, first on the path."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, body in COMMANDS.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def run_of(job: str) -> dg.DagsterRun:
    return dg.DagsterRun(job_name="job", tags={JOB: job})


@pytest.fixture
def launcher() -> SlurmRunLauncher:
    return SlurmRunLauncher.from_config_value(None, {"options": [], "setup": "true", "logs": "logs"})


def test_a_job_that_is_over_is_told_from_one_that_nobody_can_ask_about(
    cluster: Path, launcher: SlurmRunLauncher
) -> None:
    alive = str(os.getpid())
    assert launcher.supports_check_run_worker_health
    assert launcher.check_run_worker_health(run_of(alive)).status == WorkerStatus.RUNNING
    for living in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SIGNALING", "STAGE_OUT"):
        (cluster / "squeue.state").write_text(f"{living}\n")
        assert launcher.check_run_worker_health(run_of(alive)).status == WorkerStatus.RUNNING
    for over in ("TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"):
        (cluster / "squeue.state").write_text(f"{over}\n")
        health = launcher.check_run_worker_health(run_of(alive))
        assert health.status == WorkerStatus.NOT_FOUND
        assert over in str(health.msg)
    assert launcher.check_run_worker_health(run_of("99999999")).status == WorkerStatus.NOT_FOUND
    (cluster / "squeue.down").touch()
    assert launcher.check_run_worker_health(run_of(alive)).status == WorkerStatus.UNKNOWN


@pytest.mark.parametrize("state", ["PENDING", "REQUEUE_HOLD"])
def test_a_job_that_never_began_is_canceled_here(cluster: Path, launcher: SlurmRunLauncher, state: str) -> None:
    (cluster / "squeue.state").write_text(f"{state}\n")
    (cluster / "scancel").write_text('#!/bin/bash\necho "$@" >> "$0.said"\n')
    with dg.DagsterInstance.ephemeral() as instance:
        launcher.register_instance(instance)
        run = instance.create_run_for_job(dg.GraphDefinition(name="empty").to_job(), tags={JOB: str(os.getpid())})
        assert launcher.terminate(run.run_id)
        told = instance.get_run_by_id(run.run_id)
        assert told
        assert told.status == dg.DagsterRunStatus.CANCELED
        assert (cluster / "scancel.said").read_text() == f"{os.getpid()}\n"
        other = instance.create_run_for_job(dg.GraphDefinition(name="empty").to_job())
        assert not launcher.terminate(other.run_id)


def test_what_slurm_refuses_is_told_in_its_words(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.dagster_dvc import slurm

    with pytest.raises(SlurmError, match=r"sbatch: sbatch: unrecognized option '--gqus=1'"):
        slurm._said("sbatch", "--gqus=1")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SlurmError, match=r"sbatch: .*No such file"):
        slurm._said("sbatch")


@pytest.mark.slow
def test_a_run_is_a_job_that_can_be_stopped_and_is_missed_when_it_is_gone(cluster: Path, tmp_path: Path) -> None:
    """Through `dagster dev`, as a person would: done, stopped by its button, and killed with its node."""
    toy = prepared(Toy.slow(tmp_path / "toy"))
    own = re.compile(r"^run_launcher:\n(?:  .*\n)+", re.MULTILINE)
    text, replaced = own.subn(LAUNCHER, (toy.root / "dagster.yaml").read_text())
    assert replaced == 1
    toy.write({"dagster.yaml": text.replace("poll_interval_seconds: 20", "poll_interval_seconds: 2"), "go": ""})
    with served(toy) as page:
        done = page.materialize("slow")
        until(lambda: page.status(done) == "SUCCESS", seconds=90)
        (toy.root / "go").unlink()
        toy.edit("slow.py", "import os", "import math, os")
        stopped = page.materialize("slow")
        until(lambda: len(toy.pids) == 2)
        assert Path("/proc", str(toy.pids[1]), "environ").read_bytes().count(b"SLURM_JOB_ID=1")
        page.stop(stopped)
        until(lambda: not lives(toy.pids[1]), seconds=10)
        until(lambda: page.status(stopped) == "CANCELED", seconds=30)
        assert (toy.root / "saved.txt").exists()
        for number in (signal.SIGKILL, signal.SIGTERM):  # a node that fails; a job at its limit of time
            (toy.root / "go").unlink(missing_ok=True)
            (toy.root / "slow.txt").unlink(missing_ok=True)
            shutil.rmtree(toy.root / ".dvc/cache", ignore_errors=True)
            before = len(toy.pids)
            ended = page.materialize("slow")
            until(lambda before=before: len(toy.pids) == before + 1)
            os.kill(int(page.tags(ended)[JOB]), number)
            until(lambda ended=ended: page.status(ended) == "FAILURE")
            until(lambda before=before: len(toy.pids) == before + 2)  # the machine's fault: once more
            assert not lives(toy.pids[before])
            toy.write({"go": ""})
            until(lambda ended=ended: page.started_again(ended) == ["SUCCESS"])
    assert list((toy.root / "logs").iterdir())
