"""What `dvc repro` would do and why, in this project's words: by key with both values, and from which step it goes on.

What happens to a stage, DVC's own files tell (`dagster_dvc.forecast`). This project adds what it alone knows: what
design will write is computed here as design does, without torch, so that whatever follows from it is certain; and a
work that was killed lies in scratch under its identity.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lmmodel import folder
from lmmodel.params.refusal import Refusal
from pipelines import design, paths, record, standing, timings, wording
from pipelines.dagster_dvc import graph
from pipelines.dagster_dvc.archive import Archive, oid_of
from pipelines.dagster_dvc.forecast import ANOTHER, ONLY_HERE, Change, Verdict, forecast
from pipelines.parameters import Parameters
from pipelines.record import Record
from pipelines.scratch import Scratch

ELSEWHERE = "its results were made elsewhere, and are not on this machine"
"""Why a fresh clone makes what `dvc.lock` has; `dvc pull` would bring it, where it was pushed."""

Action = Literal["unchanged", "restored", "resumed", "run", "run unless"]


@dataclass(frozen=True)
class Step:
    """What becomes of one stage. `unless`: the stages that may give the same bytes, so that it need not run.

    at_step: where a training goes on. seconds: what the last run of it took on this machine, None where nobody knows.
    """

    stage: str
    action: Action
    why: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    at_step: int | None = None
    seconds: float | None = None


def plan(given: Parameters) -> list[Step]:
    """A step for every stage, in the order of `dvc.yaml`; a Refusal where dvc cannot read the project."""
    try:
        with graph.legible(".") as project:
            teller = _Teller(given, Archive(project.repo))
            verdicts = {verdict.stage: verdict for verdict in forecast(project.repo, teller.foretell)}
            return [teller.step(verdicts[name]) for name in paths.stages() if name in verdicts]
    except graph.UnreadableError as error:
        raise Refusal(f"dvc cannot read this project: {error}\n`lmmodel doctor` says what can be done") from None


_PROMOTED_SECONDS = 1.0  # of work that is done, and copied


class _Teller:
    """Puts verdicts into words."""

    def __init__(self, given: Parameters, archive: Archive) -> None:
        self._given = given
        self._archive = archive
        self._written: dict[str, bytes] = {}

    def foretell(self, stage: str) -> dict[str, str]:
        """The files that design will write, if it runs; of what costs a training nothing is known."""
        if stage != "design":
            return {}
        made = design.written(self._given)
        named = {path: oid_of(content) for path, content in made.items()}
        self._written = {oid: made[path] for path, oid in named.items()}
        return named

    def step(self, verdict: Verdict) -> Step:
        """One verdict, explained."""
        why = tuple(self._why(verdict)) if verdict.action != "unchanged" else ()
        took = timings.last(verdict.stage)
        if verdict.action == "run" and (scratch := self._scratch(verdict)):
            if scratch.finished:
                why = (*why, "finished before; it is only put in its place")
                return Step(verdict.stage, "resumed", why, seconds=_PROMOTED_SECONDS)
            if begun := _states(scratch):
                return Step(verdict.stage, "resumed", why, at_step=int(begun[-1].name.rpartition("-")[2]), seconds=took)
        return Step(verdict.stage, verdict.action, why, verdict.unless, seconds=took)

    def _why(self, verdict: Verdict) -> Iterator[str]:
        if not verdict.recorded:
            yield "dvc.lock does not have it" if verdict.action == "restored" else standing.NEVER[0]
            return
        causes = [line for change in verdict.changes for line in self._cause(verdict.stage, change)]
        yield from standing.told_once(causes, self._given)
        is_gone = verdict.harmed.keys() == verdict.outputs.keys() and set(verdict.harmed.values()) == {"not in cache"}
        if not verdict.changes and is_gone:
            yield ELSEWHERE
        elif not verdict.changes:
            yield from _harm(verdict.harmed)

    def _cause(self, stage: str, change: Change) -> list[str]:
        """One change, as far as its content is to be had by key."""
        if ":" in change.what:  # params.yaml:seed
            return record.values(change.then, change.now, change.what.partition(":")[2])
        if change.what == "cmd":
            return [f"cmd was {_command(change.then)} and is {_command(change.now)} now"]
        then, now = self._json(change.what, change.then), self._json(change.what, change.now)
        if then and now and change.what == str(paths.DECLARATION):
            moved = sorted(record.values(then, now, "model"), key=lambda line: line.partition(" ")[0].count("."))
            return [line for line in moved if not line.startswith("model.layers was ")] or moved
        if then and now and change.what == str(paths.stage(stage).plan):
            return record.differences(then, now, stage)
        return [f"{change.what} {_moved(change)}"]

    def _json(self, path: str, oid: Any) -> dict[str, Any]:
        content = self._content(path, oid) if path.endswith(".json") else None
        told: dict[str, Any] = json.loads(content) if content else {}
        return told

    def _content(self, path: str, oid: str | None) -> bytes | None:
        """The bytes of a small file by its hash: as it will be written, as DVC has it, or as it lies there."""
        if content := self._written.get(oid or "") or self._archive.read(oid):
            return content
        here = Path(path).read_bytes() if Path(path).is_file() else b""
        return here if oid_of(here) == oid else None

    # --- the work that was begun

    def _scratch(self, verdict: Verdict) -> Scratch | None:
        """Where the very work would be taken up that is to be done; None where nobody can tell yet which that is."""
        if verdict.stage == "design" or None in verdict.inputs.values():
            return None
        stage = paths.stage(verdict.stage)
        plan = self._json(str(stage.plan), verdict.inputs.get(str(stage.plan)))
        read = dict(self._digests(stage, verdict.inputs))
        if not plan or len(read) < len(stage.inputs):
            return None
        return Scratch(stage, Record(stage.name, plan, dict(sorted(read.items()))).identity)

    def _digests(self, stage: paths.Stage, inputs: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
        """What `record` will read off the stage's data, also of data that dvc has yet to lay out."""
        for path in stage.inputs.values():
            oid = inputs.get(str(path))
            if record.is_sealed(path):
                index = path / folder.INDEX
                content = self._archive.within(oid, folder.INDEX) or (index.read_bytes() if index.is_file() else None)
            elif path.suffix:
                content = self._content(str(path), oid)
            else:
                yield from record.digests(path)
                continue
            if content is not None:
                yield str(path), hashlib.sha256(content).hexdigest()


def _states(scratch: Scratch) -> list[Path]:
    """What was saved of a training, in order; torch, which takes longer than all else here, only where there is any."""
    if not scratch.state.is_dir():
        return []
    from lmmodel.learning.saving import states

    return list(states(scratch.state))


_HARMED = {
    "deleted": "not here",
    "modified": "changed by hand",
    ANOTHER: "another result lies there",
    "not in cache": "not in DVC's cache",
    ONLY_HERE: "not in DVC's cache any more, but here: `lmmodel doctor --fix` saves making it again",
}


def _harm(harmed: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the outputs, of each kind of harm in a line."""
    for word in dict.fromkeys(harmed.values()):
        places = [path for path, told in harmed.items() if told == word]
        yield f"{wording.few(places)}: {_HARMED.get(word, word)}"


def _command(command: str | list[str] | None) -> str:
    return f"`{'; '.join(command)}`" if isinstance(command, list) else f"`{command}`"


def _moved(change: Change) -> str:
    if not change.now:
        return "is not here"
    then, now = (re.sub(r"\W.*", "", str(oid))[:8] for oid in (change.then or "nothing", change.now))
    return f"changed: {then} then, {now} now"
