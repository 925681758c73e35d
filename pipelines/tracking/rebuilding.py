"""Runs that are missing, made again from what the stages wrote.

When DVC takes a result from its cache or from a remote, no code of ours runs, and a tracking store may be new: what the
stages wrote is enough to make the run all the same, so that the table of candidates never has holes.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmmodel.learning import checkpoint
from lmmodel.params.refusal import Refusal
from pipelines import paths, record, standing
from pipelines.tracking import location, past
from pipelines.tracking.delivery import deliver_abandoned
from pipelines.tracking.notes import begin, held, place
from pipelines.tracking.opening import MADE_OF, STAGE, describe, hashes
from pipelines.tracking.store import IDENTITY, Store

_TOLD = """
    SELECT found.value FROM tags found JOIN tags told USING (run_uuid)
    JOIN runs USING (run_uuid) JOIN experiments USING (experiment_id)
    WHERE experiments.name = ? AND found.key = ? AND told.key = ?
"""


def missing() -> list[str]:
    """The stages whose result stands in the project without a run in the local database, without importing MLflow.

    All of them where the runs are kept elsewhere, since only MLflow can ask there.
    """
    known = _known() if past.is_local() else set()
    return [name for name, identity in _standing() if identity not in known]


def rebuild() -> list[str]:
    """Make every run that is missing, and carry what was left behind; the stages whose runs were made.

    Not of a work whose notes are under way: made from the few points that its curve keeps, its run would take none of
    the many that are on their way. Raises what MLflow raises where the store cannot be reached.
    """
    store = Store()  # first: one that does not answer says so at once, and notes would be offered to it for a while
    deliver_abandoned(place())
    absent = [(name, identity) for name, identity in _standing() if not store.has(identity)]
    under_way = held(place())
    absent = [(name, identity) for name, identity in absent if not identity.startswith(under_way)]
    for name, identity in absent:
        _note(paths.stage(name), identity)
    deliver_abandoned(place())
    return [name for name, identity in absent if store.has(identity)]


class RebuildingError(Exception):
    """No run could be made; the text says why, in a line."""


def rebuild_apart(patience_seconds: float = 20.0) -> list[str] | None:
    """`rebuild` in a process of its own: what that gives; None where it takes longer, and goes on without us.

    A RebuildingError where it failed.
    """
    log = place() / "rebuilding.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.tracking.rebuilding"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.returncode = 0  # else Python warns that nobody waits for it
        return None
    return _came_out(log)


def _came_out(log: Path) -> list[str]:
    """What the last line says that `main` prints."""
    try:
        told = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
        made, wrong = list(told["made"]), str(told["wrong"])
    except (OSError, ValueError, LookupError, TypeError):
        raise RebuildingError(f"it ended without a word; {log} holds what it said before") from None
    if wrong:
        raise RebuildingError(wrong)
    return made


def _standing() -> list[tuple[str, str]]:
    """The stages whose result stands in the project, with the identity of the work that made it."""
    recorded = standing.lock()
    stages = [stage for name, stage in paths.stages().items() if name in MADE_OF]
    return [(item.name, record.read(item).identity) for item in stages if standing.is_recorded(item, recorded)]


def _known() -> set[str]:
    """The identities of runs in the local database that say what they are, in the experiment."""
    return {value for (value,) in past.rows(_TOLD, location.experiment(), IDENTITY, STAGE)}


def _note(stage: paths.Stage, identity: str) -> None:
    """The notes that the work would have left."""
    notes = begin(place(), f"{stage.name}-{identity[:12]}")
    notes.add(begin=describe(stage, identity=identity, tags={"lmmodel.rebuilt": True}, extra=_decided(stage)))
    for step, metrics in _points(stage.curve):
        notes.add(metrics=metrics, step=step)
    notes.add(figures=json.loads(stage.metrics.read_text(encoding="utf-8")))
    notes.keep_pages(stage.output)
    if checkpoint.is_in(stage.output):
        notes.add(checkpoint={"path": str(stage.output), "dvc": hashes().get(str(stage.output), "")})
    notes.add(end="FINISHED")
    notes.close()


def _decided(stage: paths.Stage) -> dict[str, Any]:
    """What the training had decided at its start, as its checkpoint has it."""
    try:
        told = checkpoint.facts(stage.output)
    except (Refusal, OSError):  # evaluate leaves none, a fine-tuning that was skipped neither
        return {}
    return {"launch": told["platform"] | {"steps": told["step"]}}


def _points(curve: Path | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a curve, by step; cells that are empty are points that were not measured."""
    if curve is None or not curve.is_file():
        return
    with curve.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            values = {key: float(text) for key, text in row.items() if text}
            yield int(values.pop("step", number)), values


def main() -> None:
    """What `rebuild_apart` starts."""
    made, wrong = [], ""
    try:
        made = rebuild()
    except Exception as error:  # whatever MLflow raises
        traceback.print_exc()
        wrong = " ".join(str(error).split()) or type(error).__name__
    print(json.dumps({"made": made, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main()
