"""Where the runs are."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines import paths


def database(root: Path | None = None) -> Path:
    """The database that is used where `MLFLOW_TRACKING_URI` names no other.

    It lies where a plain `mlflow ui`, started in the project's folder, looks for one.
    """
    return paths.home(root) / "mlflow.db"


def uri(root: Path | None = None) -> str:
    """Where the runs are. Absolute, since a stage may run in a clone of the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database(root)}"


def experiment() -> str:
    """What the experiment is called that holds them."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "lmmodel"
