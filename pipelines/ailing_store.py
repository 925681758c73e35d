"""What may be broken of what MLflow keeps here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from pipelines import paths, tracking, wording
from pipelines.ailment import Ailment
from pipelines.tracking import location

SET_ASIDE = paths.OWN / "set-aside"


def store() -> Iterator[Ailment]:
    """MLflow's database, where it is a file here."""
    database = location.database()
    if database.is_file() and (wrong := _wrong_with(database)):
        yield Ailment(
            f"{database.name} is damaged ({wrong}): nothing is noted in MLflow any more.",
            f"moves it to {SET_ASIDE}/; `lmmodel report` has the runs written anew from what the stages made",
            partial(_set_aside, database),
        )


def _wrong_with(database: Path) -> str:
    """What SQLite finds wrong, in a word; an empty file is one that MLflow has yet to begin."""
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as opened:
        try:
            (told,) = opened.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError:
            return ""  # somebody is at it
        except sqlite3.DatabaseError as error:
            return str(error)
    return "" if told == "ok" else str(told).strip().splitlines()[-1]


def runs() -> Iterator[Ailment]:
    """Runs in MLflow's database that were never ended."""
    if left := tracking.left_running():
        yield Ailment(
            f"MLflow shows {wording.listed([one.name for one in left][:3])} as running, and no process does.",
            "carries over what was noted of it, and ends it as killed",
            _end_runs,
        )


def _end_runs() -> str:
    tracking.end_left()
    return ""


def old_store() -> Iterator[Ailment]:
    """What an older MLflow kept its runs in: where it lies, a plain `mlflow ui` takes it for the store, and fails."""
    if any(Path("mlruns").glob("[0-9]*/meta.yaml")):
        yield Ailment(
            "./mlruns holds runs of another MLflow: `mlflow ui` looks there and not into mlflow.db, and fails.",
            f"moves it to {SET_ASIDE}/, as it is",
            partial(_set_aside, Path("mlruns")),
        )


def _set_aside(path: Path) -> str:
    """With what SQLite keeps beside a database."""
    SET_ASIDE.mkdir(parents=True, exist_ok=True)
    number = len(list(SET_ASIDE.glob(f"{path.name}*")))
    target = SET_ASIDE / (f"{path.name}-{number}" if number else path.name)
    for suffix in ("", "-wal", "-shm"):
        beside = path.with_name(f"{path.name}{suffix}")
        if beside.exists():
            beside.rename(target.with_name(f"{target.name}{suffix}"))
    return f"it is in {target} now"


LOOKS = (store, runs, old_store)
