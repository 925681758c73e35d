"""The local database, read past MLflow, whose import alone takes longer than all that is asked here."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from pipelines.tracking.location import database, uri


def is_local(root: Path | None = None) -> bool:
    """Whether the runs are in the project's own database, rather than where `MLFLOW_TRACKING_URI` says."""
    return uri(root) == f"sqlite:///{database(root)}"


def rows(query: str, *values: str, root: Path | None = None) -> list[tuple[Any, ...]]:
    """What the database answers; nothing where there is none yet, or while it is being made."""
    if not database(root).is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{database(root).as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.Error:
        return []
