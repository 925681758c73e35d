"""Runs of MLflow that say RUNNING, and nobody runs them.

Whoever works on a run holds its notes. A stage that is killed leaves notes behind, which end the run when they are
carried; where those are gone too, nobody would ever end it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipelines.tracking import past
from pipelines.tracking.delivery import deliver_abandoned
from pipelines.tracking.notes import held, place
from pipelines.tracking.store import IDENTITY, Store, Tracked

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
    """The runs of this project's own database that nobody runs. Of a server's nobody here can tell: none."""
    running = past.rows(_RUNNING, IDENTITY) if past.is_local() else []
    taken = held(place()) if running else ()
    return [Ghost(run, name) for run, name, identity in running if not identity.startswith(taken)]


def end_left() -> None:
    """End every ghost: with what its stage noted, where that is still there, and as killed."""
    deliver_abandoned(place())
    store = Store()
    for ghost in left_running():
        store.end(Tracked(ghost.run_id), "KILLED", time.time_ns() // 1_000_000)
