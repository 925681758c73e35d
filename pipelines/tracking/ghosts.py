"""Runs of MLflow that say RUNNING, and nobody runs them.

Whoever works on a run holds its notes. A stage that is killed leaves notes behind, which end the run when they are
carried; where those are gone too, nobody would ever end it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.tracking.delivery import deliver_abandoned
from pipelines.tracking.notes import Reader, place
from pipelines.tracking.store import IDENTITY, Store, Tracked, database, uri

_RUNNING = """
    SELECT runs.run_uuid, runs.name, tags.value FROM runs
    JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = ?
    WHERE runs.status = 'RUNNING' AND runs.lifecycle_stage = 'active'
    ORDER BY runs.name
"""


@dataclass(frozen=True)
class Ghost:
    """A run without a process."""

    run_id: str
    name: str


def left_running() -> list[Ghost]:
    """The runs of this project's own database that nobody runs. Of a server's nobody here can tell: none.

    Read past MLflow, whose import takes longer than all else here.
    """
    if uri() != f"sqlite:///{database()}" or not database().is_file():
        return []
    held = list(_held())
    return [Ghost(run, name) for run, name, identity in _running() if not any(identity.startswith(one) for one in held)]


def end_left() -> None:
    """End every ghost: with what its stage noted, where that is still there, and as killed."""
    deliver_abandoned(place())
    store = Store()
    for ghost in left_running():
        store.end(Tracked(ghost.run_id), "KILLED", time.time_ns() // 1_000_000)


def _running() -> list[tuple[str, str, str]]:
    try:
        with sqlite3.connect(f"file:{database()}?mode=ro", uri=True, timeout=1) as connection:
            rows = connection.execute(_RUNNING, (IDENTITY,)).fetchall()
        connection.close()
    except sqlite3.Error:
        return []
    return rows


def _held() -> Iterator[str]:
    """The beginnings of the identities whose notes somebody holds: the stage, or the process that carries them."""
    for notes in place().glob("[0-9]*"):
        try:
            Reader(notes, alone=True).close()
        except FileNotFoundError:
            continue
        except OSError:
            yield notes.name.rpartition("-")[2]
