"""MLflow itself: one run for each identity."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import paths
from pipelines.tracking import checkpoints, description, experiment, inputs, limits, links
from pipelines.tracking.location import uri
from pipelines.tracking.notes import Record, place
from pipelines.tracking.opening import CANDIDATE, STAGE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

IDENTITY = "lmmodel.identity"
"""The tag by which a run is found."""

_PAGE = "mlflow.note.content"

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    # A server that is gone is tried again by the carrier, which also knows when to stop.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


@dataclass
class Tracked:
    """A run under way: how far each of its curves reaches, what is known to stand in it, the checkpoints it read."""

    run_id: str
    candidate: str | None = None
    stage: str = ""
    reached: dict[str, int] = field(default_factory=dict)
    figures: dict[tuple[str, str], float] = field(default_factory=dict)
    read: dict[str, LoggedModel] = field(default_factory=dict)


class Store:
    """The runs of this project. Every method may raise what MLflow raises."""

    def __init__(self, root: Path | None = None) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._root = paths.home(root)  # now: the clone of a queued experiment is deleted when it is done
        self.uri = uri(root)
        with self._alone():
            self.client = self._connect()
            self._experiment = experiment.find(self.client, local=self._root if self.uri.startswith("sqlite") else None)
            links.met(self._experiment, self._root)

    def _connect(self) -> MlflowClient:
        """The first contact makes the database. Unlocked, processes that meet there break each other's tables."""
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        return MlflowClient(self.uri)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process of this machine at a time: making the database, and finding or making a run."""
        folder = place(self._root)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def has(self, identity: str) -> bool:
        """Whether there is a run of `identity` that says what it is, were it one that a person has deleted."""
        run = self.find(identity)
        return run is not None and STAGE in run.data.tags

    def find(self, identity: str) -> Run | None:
        """The run of `identity`, were it one that a person has deleted."""
        from mlflow.entities import ViewType

        runs = self.client.search_runs(
            [self._experiment],
            filter_string=f"tags.`{IDENTITY}` = '{identity}'",
            run_view_type=ViewType.ALL,
            max_results=1,
        )
        return runs[0] if runs else None

    def open(self, begin: Record, time_ms: int) -> Tracked:
        """The run that a `begin` record is about: found by its identity and reopened, or made."""
        with self._alone():
            run = self.find(begin["identity"]) or self._make(begin, time_ms)
            candidate = self._other(CANDIDATE, begin["candidate"], time_ms) if begin["candidate"] else None
            read = checkpoints.read(self.client, begin["data"], lambda stage, work: self._other(stage, work, time_ms))
        self._reopen(run)
        self._describe(run, begin, candidate.info.run_id if candidate else None)
        inputs.tell(self.client, run.info.run_id, begin["data"], read.values())
        return Tracked(
            run_id=run.info.run_id,
            stage=begin["stage"],
            candidate=candidate.info.run_id if candidate else None,
            reached={point.key: point.step for point in run.data.to_proto().metrics},
            figures={
                (known.info.run_id, key): value
                for known in (run, *([candidate] if candidate else []))
                for key, value in known.data.metrics.items()
            },
            read=read,
        )

    def _make(self, begin: Record, time_ms: int) -> Run:
        return self.client.create_run(
            self._experiment, start_time=time_ms, run_name=begin["name"], tags={IDENTITY: begin["identity"]}
        )

    def _other(self, stage: str, identity: str, time_ms: int) -> Run:
        """The run of a work that another one belongs to, or read from; made bare where it has none yet."""
        run = self.find(identity)
        if run is None:
            run = self._make({"identity": identity, "name": f"{stage} {identity[:8]}"}, time_ms)
            self.client.set_terminated(run.info.run_id, "FINISHED", end_time=time_ms)
        return run

    def model(self, stage: str, identity: str, path: str) -> LoggedModel:
        """What the training of `identity` puts out into the folder `path`, as a model of MLflow's."""
        with self._alone():
            run = self._other(stage, identity, time.time_ns() // 1_000_000)
            return checkpoints.found_or_made(self.client, run, path)

    def _reopen(self, run: Run) -> None:
        from mlflow.entities import LifecycleStage

        if run.info.lifecycle_stage == LifecycleStage.DELETED:
            self.client.restore_run(run.info.run_id)
        self.client.update_run(run.info.run_id, status="RUNNING")

    def _describe(self, run: Run, begin: Record, candidate: str | None) -> None:
        """Parameters that are not there yet (MLflow refuses to change one), tags, and the data that was read."""
        from mlflow.entities import Param

        run_id = run.info.run_id
        given = begin["parameters"]
        told = {limits.key(key): limits.cut(value, limits.PARAMETER_LETTERS) for key, value in given.items()}
        missing = [Param(key, value) for key, value in told.items() if key not in run.data.params]
        for batch in limits.batches(missing, limits.PARAMETERS_AT_ONCE):
            self.client.log_batch(run_id, params=batch)
        self.client.update_run(run_id, name=begin["name"])
        nested = {"mlflow.parentRunId": candidate} if candidate else {}
        self.tag(run_id, {STAGE: begin["stage"], **nested, **begin["tags"]})
        if any(len(value) > limits.PARAMETER_LETTERS for value in given.values()):
            self.client.log_dict(run_id, given, "parameters.json")

    def tag(self, run_id: str, tags: dict[str, str]) -> None:
        """Tags, over those of the same name."""
        from mlflow.entities import RunTag

        values = [RunTag(limits.key(key), limits.cut(value, limits.TAG_LETTERS)) for key, value in tags.items()]
        for batch in limits.batches(values, limits.PARAMETERS_AT_ONCE):
            self.client.log_batch(run_id, tags=batch)

    def log(self, run: Tracked, points: Iterable[Record]) -> None:
        """Points of curves that the run does not have yet."""
        from mlflow.entities import Metric

        new = [
            Metric(key, float(value), point["time_ms"], point["step"])
            for point in points
            for key, value in ((limits.key(name), value) for name, value in point["metrics"].items())
            if point["step"] > run.reached.get(key, -1)
        ]
        for batch in limits.batches(new, limits.METRICS_AT_ONCE):
            self.client.log_batch(run.run_id, metrics=batch)
        for metric in new:
            run.reached[metric.key] = max(metric.step, run.reached.get(metric.key, -1))
            run.figures[run.run_id, metric.key] = metric.value

    def figures(self, run: Tracked, figures: dict[str, Any], time_ms: int) -> None:
        """Numbers of the whole run; those of a nested run also stand in its candidate, below the stage's word. What is
        told of a checkpoint that it read also stands there."""
        numbers = dict(limits.numbers(figures))
        self._set(run, run.run_id, numbers, time_ms)
        results = {key: value for key, value in numbers.items() if not key.endswith("_interval")}
        if run.candidate:
            risen = {limits.key(f"{run.stage}/{key}"): value for key, value in results.items()}
            self._set(run, run.candidate, risen, time_ms)
        for stage, model in run.read.items():
            scores = limits.below(f"{stage}.", results)
            checkpoints.judge(self.client, model, scores, time_ms)

    def _set(self, run: Tracked, run_id: str, numbers: dict[str, float], time_ms: int) -> None:
        from mlflow.entities import Metric

        changed = {key: value for key, value in numbers.items() if run.figures.get((run_id, key)) != value}
        metrics = [Metric(key, value, time_ms, run.reached.get(key, 0)) for key, value in changed.items()]
        for batch in limits.batches(metrics, limits.METRICS_AT_ONCE):
            self.client.log_batch(run_id, metrics=batch)
        run.figures |= {(run_id, key): value for key, value in changed.items()}

    def artifact(self, run: Tracked, path: Path) -> None:
        """A file beside the run. A page in Markdown becomes a part of what describes the run, its candidate, and the
        runs whose checkpoints it read."""
        self.client.log_artifact(run.run_id, str(path))
        if path.suffix == ".md":
            trained = [model.source_run_id for model in run.read.values()]
            for run_id in filter(None, dict.fromkeys((run.run_id, run.candidate, *trained))):
                self.told(run_id, path.read_text(encoding="utf-8"))

    def drawing(self, run: Tracked) -> str:
        """The design as its candidate's page has it; nothing where it is not there yet."""
        return description.part(self._page(run.candidate), description.PARTS[0]) if run.candidate else ""

    def checkpoint(self, run: Tracked, told: dict[str, str]) -> None:
        """What the run's training came to, as a model. told: its folder, and DVC's hash of that where it is known."""
        with self._alone():
            model = checkpoints.found_or_made(self.client, self.client.get_run(run.run_id), told["path"])
        checkpoints.tag(self.client, model, {checkpoints.MD5: told.get("dvc", "")})
        checkpoints.hand_in(self.client, self.client.get_run(run.run_id), model)

    def told(self, run_id: str, part: str) -> None:
        """Put a part into the page that describes the run."""
        with self._alone():  # more than one stage may have something to say about a run
            self.tag(run_id, {_PAGE: description.put_in(self._page(run_id), part)})

    def _page(self, run_id: str) -> str:
        page: str = self.client.get_run(run_id).data.tags.get(_PAGE, "")
        return page

    def end(self, run: Tracked, status: str, time_ms: int) -> None:
        """The run is over."""
        self.client.set_terminated(run.run_id, status, end_time=time_ms)

    @contextmanager
    def system(self, run: Tracked) -> Iterator[None]:
        """Processor, memory, disk, network and GPU of the machine, while this lasts."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(run.run_id, sampling_interval=10, resume_logging=True, tracking_uri=self.uri)
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()


def is_hopeless(error: Exception) -> bool:
    """Whether MLflow refused what it was given, so that offering it again would change nothing."""
    return getattr(error, "error_code", "") in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
