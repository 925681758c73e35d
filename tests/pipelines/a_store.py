"""A store of MLflow in the folder where a test runs: what works leave to be carried there, and what arrived."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pipelines.tracking.location import database, uri
from pipelines.tracking.notes import Writer, begin, place


def opened(identity: str, *, stage: str = "pretrain", candidate: str | None = None, **more: Any) -> dict[str, Any]:
    """A first record."""
    record = {"stage": stage, "identity": identity, "candidate": candidate, "name": f"{stage} of {identity}"}
    return {**record, "parameters": {"model.width": "64"}, "tags": {}, "data": [], **more}


def noted(identity: str, *, steps: range, end: str | None = "FINISHED", **more: Any) -> Writer:
    """What a work leaves on disk that logs its loss at `steps`."""
    writer = begin(place(), identity)
    writer.add(begin=opened(identity, **more))
    for step in steps:
        writer.add(metrics={"loss_nats": 5.0 - step / 100}, step=step)
    if end:
        writer.add(end=end)
    writer.close()
    return writer


def runs() -> list[Any]:
    """Every run in the store of this folder."""
    from mlflow import MlflowClient

    client = MlflowClient(uri())
    experiment = client.get_experiment_by_name("lmmodel")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def steps_of(run: Any, key: str) -> list[int]:
    from mlflow import MlflowClient

    return [point.step for point in MlflowClient(uri()).get_metric_history(run.info.run_id, key)]


def with_database(root: Path, empty_database: Path) -> None:
    database(root).write_bytes(empty_database.read_bytes())


def settle(seconds: float = 300) -> None:
    """Until all notes are carried."""
    end = time.monotonic() + seconds
    while list(place().glob("[0-9]*")):
        assert time.monotonic() < end, "notes were not carried in time"
        time.sleep(0.1)
