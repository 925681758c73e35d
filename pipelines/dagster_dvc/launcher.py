"""Runs on this machine that are missed when their process is gone: a run launcher, chosen in ``dagster.yaml``::

    run_launcher: {module: pipelines.dagster_dvc.launcher, class: WatchedRunLauncher}
    run_monitoring: {enabled: true, poll_interval_seconds: 20}

Dagster's own starts a run in a process of its code server, which alone takes note of its end. Where all of Dagster
goes at once (a terminal that is closed, a power cut), such a run is under way for ever: it keeps its place in the pool,
and no training begins again. This one lets the monitor ask whether the process lives.
"""

from __future__ import annotations

import psutil
from dagster import DagsterEventType, DagsterRun, DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus

SAID = "Started process for run"
"""How Dagster's event begins in which the process of a run names itself."""

SLACK_SECONDS = 2.0  # between the clocks of the system and of the event


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's own, and it knows who is gone."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """It does."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process that said it would do the run lives; of one that never said so nothing is known."""
        for entry in self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT):
            event = entry.dagster_event
            if event and (event.message or "").startswith(SAID):
                pid = int(str(event.engine_event_data.metadata["pid"].value))
                if not _lives(pid, since=entry.timestamp):
                    return CheckRunHealthResult(WorkerStatus.FAILED, f"process {pid}, which did the run, is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def _lives(pid: int, *, since: float) -> bool:
    """Whether there is such a process, and not a younger one by its number."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() < since + SLACK_SECONDS
    except psutil.NoSuchProcess:
        return False
