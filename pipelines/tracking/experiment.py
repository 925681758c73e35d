"""The experiment of MLflow that holds the runs: found, restored, or made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import paths
from pipelines.tracking import leaderboard, location

if TYPE_CHECKING:
    from mlflow import MlflowClient


def find(client: MlflowClient, *, local: Path | None) -> str:
    """Its identifier. local: the project in whose own database it is, beside which artifacts are local files too."""
    from mlflow.entities import LifecycleStage

    name = location.experiment()
    found = client.get_experiment_by_name(name)
    if found is None:
        return _make(client, name, local)
    if found.lifecycle_stage == LifecycleStage.DELETED:
        client.restore_experiment(found.experiment_id)
    identifier: str = found.experiment_id
    return identifier


def _make(client: MlflowClient, name: str, local: Path | None) -> str:
    from mlflow.exceptions import MlflowException

    artifacts = (local / paths.OWN / "artifacts").as_uri() if local else None  # wherever `mlflow ui` is started
    try:
        made: str = client.create_experiment(name, artifact_location=artifacts, tags=leaderboard.tags())
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return find(client, local=local)  # others meet at the same server, and one of them came first
    return made
