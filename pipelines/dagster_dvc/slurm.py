"""Runs as jobs of a Slurm cluster: a run launcher, chosen in ``dagster.yaml``::

    run_launcher:
      module: pipelines.dagster_dvc.slurm
      class: SlurmRunLauncher
      config:
        options: [--partition=gpu, --gpus=1, --time=24:00:00]
        setup: source .venv/bin/activate
        logs: .dagster/slurm

sbatch, squeue and scancel are to be had where Dagster's daemon and page run; the project lies in the same place on all
nodes, and Dagster's storage is a server that all reach. A job that waits in the queue is a run that starts.
"""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData

JOB = "slurm/job"
"""The tag of a run that holds the number of its job."""

WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
"""What squeue says of a job that has no process: it is queued, or queued once more, held or not."""

LIVING = WAITING | {
    "COMPLETING",
    "CONFIGURING",
    "RESIZING",
    "RUNNING",
    "SIGNALING",
    "STAGE_OUT",
    "STOPPED",
    "SUSPENDED",
}
"""What squeue says of a job that has yet to end (its manual, section JOB STATE CODES)."""

PATIENCE_SECONDS = 60


class SlurmError(Exception):
    """One of Slurm's commands failed; the text is what it said."""


class SlurmRunLauncher(RunLauncher, ConfigurableClass):
    """A job for each run. options: of sbatch. setup: a line of shell before the run. logs: a folder for its output."""

    def __init__(
        self, options: Sequence[str], setup: str, logs: str, inst_data: ConfigurableClassData | None = None
    ) -> None:
        self._inst_data = inst_data
        self._options = list(options)
        self._setup = setup
        self._logs = Path(logs)
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What Dagster made it of."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> Mapping[str, dg.Field]:
        """What may stand under ``config``."""
        return {
            "options": dg.Field([str], default_value=[]),
            "setup": dg.Field(str, default_value="true"),
            "logs": dg.Field(str, default_value=".dagster/slurm"),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "SlurmRunLauncher":
        """As ``dagster.yaml`` says."""
        return cls(**config_value, inst_data=inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Queue the job. When its node fails, Slurm does not start it again: that is for Dagster to decide."""
        run = context.dagster_run
        assert run.job_code_origin
        command = ExecuteRunArgs(
            job_origin=run.job_code_origin,
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
            set_exit_code_on_failure=True,
        ).get_command_args()
        self._logs.mkdir(parents=True, exist_ok=True)
        told = [f"--job-name=dagster-{run.run_id[:8]}", f"--output={self._logs.resolve()}/%j.out", *self._options]
        script = f"#!/bin/bash\n{self._setup}\nexec {shlex.join(command)}\n"
        answer = _said("sbatch", "--parsable", "--no-requeue", f"--chdir={Path.cwd()}", *told, script=script)
        job = answer.partition(";")[0]  # of a federation the cluster stands behind it
        self._instance.add_run_tags(run.run_id, {JOB: job})
        self._instance.report_engine_event(f"Queued as Slurm's job {job}", run, cls=type(self))

    def terminate(self, run_id: str) -> bool:
        """Cancel the job. What runs is asked to stop, and reports that itself; what never began is reported here."""
        run = self._instance.get_run_by_id(run_id)
        job = run and run.tags.get(JOB)
        if not run or not job or (state := _state(job)) not in LIVING:
            return False
        self._instance.report_run_canceling(run)
        _said("scancel", job)
        if state in WAITING:
            self._instance.report_run_canceled(run)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """A job that is gone without a word is noticed."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the job is still known to Slurm as one that has yet to end."""
        job = run.tags.get(JOB, "")
        try:
            state = _state(job)
        except SlurmError as error:  # the controller is away: nobody knows
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, str(error))
        if state in LIVING:
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=job)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"Slurm's job {job} is over: {state or 'not in the queue'}")


def _state(job: str) -> str:
    """What squeue says of a job; nothing where it no longer knows it."""
    try:
        return _said("squeue", "--noheader", f"--jobs={job}", "--format=%T")
    except SlurmError as error:
        if "Invalid job id" in str(error):
            return ""
        raise


def _said(*command: str, script: str | None = None) -> str:
    try:
        done = subprocess.run(
            command, input=script or "", capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise SlurmError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
