"""For who looks on from another door: what a work under way has noted, and where MLflow shows its run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from lmmodel.params.refusal import Refusal
from pipelines import paths, record
from pipelines.tracking import links, location, past
from pipelines.tracking.following import is_on
from pipelines.tracking.notes import LINES, Record, place
from pipelines.tracking.opening import MADE_OF
from pipelines.tracking.store import IDENTITY, Store

_RUN = """
    SELECT runs.run_uuid FROM runs JOIN tags USING (run_uuid) JOIN experiments USING (experiment_id)
    WHERE experiments.name = ? AND tags.key = ? AND tags.value = ? AND runs.lifecycle_stage = 'active'
"""


class Onlooker:
    """The points of the work of one stage that begins after this was made. Holds nothing and carries nothing away."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._since = time.time_ns()
        self._read: dict[Path, int] = {}

    def __call__(self) -> dict[str, float]:
        """The latest value of each curve, and its step, noted since the last call."""
        points = [record for folder in self._folders() for record in self._new(folder) if "metrics" in record]
        return {key: value for point in points for key, value in ({"step": point["step"]} | point["metrics"]).items()}

    def _folders(self) -> list[Path]:
        found = sorted(place().glob(f"[0-9]*-{self._stage}-{identity(self._stage)[:12]}"))
        return [folder for folder in found if int(folder.name.partition("-")[0]) > self._since]

    def _new(self, folder: Path) -> Iterator[Record]:
        """Whole lines only: the last one may be under way. None when all was carried away in this moment."""
        with suppress(FileNotFoundError), (folder / LINES).open("rb") as file:
            file.seek(self._read.get(folder, 0))
            new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[folder] = file.tell() - len(new) + len(whole)
            yield from map(json.loads, whole.splitlines())


def identity(stage: str) -> str:
    """Of the work that the stage does, or did, with what lies in the project now; of none while that is not whole."""
    try:
        return record.read(paths.stage(stage)).identity
    except (Refusal, OSError):
        return "none"


def address(stage: str) -> str | None:
    """Where a browser finds the run of the result that stands in the project; of a stage that has runs at all.

    Where MLflow does not have it yet, a page that will show it. Raises what MLflow raises where a server is away.
    """
    if stage not in MADE_OF or not is_on():
        return None
    work = identity(stage)
    if not past.is_local():
        found = Store().find(work) if links.server() else None
        return links.page(f"runs/{found.info.run_id}") if found else None
    for (run,) in past.rows(_RUN, location.experiment(), IDENTITY, work):
        return links.page(f"runs/{run}")
    wanted = quote(f"tags.`{IDENTITY}` = '{work}'")
    return links.page(f"runs?searchFilter={wanted}")
