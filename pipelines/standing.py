"""What stands in the project, and whether it is what params.yaml, the code and the data would give now.

Read off `dvc.lock`, what the design stage wrote and the stages' small files, in a few hundredths of a second: no data
is read and the dvc command is not asked. What only DVC can know, the bytes of large data, is taken from `dvc.lock`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lmmodel.params import document
from lmmodel.params.refusal import Refusal
from pipelines import paths, record
from pipelines.dagster_dvc.archive import oid_of
from pipelines.parameters import Parameters

Lock = Mapping[str, Mapping[str, Any]]
NEVER = ("it never ran",)


@dataclass(frozen=True)
class Standing:
    """One stage's result. `is_here`: it lies in the project, as `dvc.lock` has it. `causes`: why it would not be made
    like that now, each in a few words. `after`: the stages before it that will run first and may change what it reads.
    """

    stage: paths.Stage
    is_here: bool
    causes: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to do."""
        return self.is_here and not self.causes and not self.after


def lock() -> Lock:
    """The stages of `dvc.lock`; empty where nothing ever ran."""
    text = paths.LOCK.read_text(encoding="utf-8") if paths.LOCK.is_file() else ""
    return _parsed(text) if text.strip() else {}


def is_legible() -> bool:
    """Whether `dvc.lock` can be read; dvc writes it in place, and may be killed at that moment."""
    try:
        lock()
    except Refusal:
        return False
    return True


@lru_cache(maxsize=2)
def _parsed(text: str) -> Lock:
    try:
        stages: Lock = document.parse(text, name=str(paths.LOCK)).data.get("stages", {})
    except Refusal as refusal:
        raise Refusal(f"{refusal}; `lmmodel run` mends one that was cut short when a dvc was killed") from None
    return stages


def is_recorded(stage: paths.Stage, recorded: Lock) -> bool:
    """Whether the result of `stage` in the project was made of the plan and the data that stand there too."""
    return _is_here(stage, recorded) and not _moved(stage, recorded) and _same_plan(stage, recorded)


def survey(parameters: Parameters) -> list[Standing]:
    """How every stage after `design` stands, in the order of `dvc.yaml`."""
    recorded = lock()
    found: dict[str, Standing] = {}
    for name, stage in paths.stages().items():
        if name != "design":
            found[name] = _standing(stage, recorded, parameters, found)
    return list(found.values())


def _standing(stage: paths.Stage, recorded: Lock, parameters: Parameters, earlier: Mapping[str, Standing]) -> Standing:
    if stage.name not in recorded:
        return Standing(stage, is_here=False, causes=NEVER)
    makers = {item.output: item.name for item in paths.stages().values()}
    before = [makers[path] for path in stage.inputs.values() if path in makers]
    return Standing(
        stage,
        is_here=_is_here(stage, recorded),
        causes=(*_planned(stage, recorded, parameters), *_moved(stage, recorded)),
        after=tuple(name for name in before if name in earlier and not earlier[name].is_current),
    )


def _planned(stage: paths.Stage, recorded: Lock, parameters: Parameters) -> list[str]:
    """What changed in params.yaml or the code since `stage` ran; by key, with both values, where design did not run."""
    try:
        written = json.loads(stage.plan.read_text(encoding="utf-8"))
        changed = record.changes(stage, written, parameters)
    except (OSError, ValueError):
        return []  # missing or damaged, as may be the declaration: design will write them, most likely as they were
    if changed:
        return told_once(changed, parameters)
    return [] if _same_plan(stage, recorded) else [f"{stage.plan} changed since"]


def told_once(changed: list[str], parameters: Parameters) -> list[str]:
    """What changed in every layer alike is told once; what a person wrote comes before what follows from it."""
    once = dict.fromkeys(re.sub(r"^model\.layers\.\d+\.", "model.layers.", line) for line in changed)
    written = parameters.document.lines
    return sorted(once, key=lambda line: tuple(line.split(" ")[0].split(".")) not in written)


def _same_plan(stage: paths.Stage, recorded: Lock) -> bool:
    return _is_as(stage.plan, _listed(recorded, stage.name, "deps"))


def _is_here(stage: paths.Stage, recorded: Lock) -> bool:
    """Whether what lies there is what was recorded, as far as the small files tell that speak for the large ones."""
    outputs = _listed(recorded, stage.name, "outs")
    small = [path for path in (stage.metrics, stage.curve) if path]
    return stage.output.is_dir() and bool(outputs) and all(_is_as(path, outputs) for path in small)


def _moved(stage: paths.Stage, recorded: Lock) -> list[str]:
    """The inputs of `stage` that are not any more what it read."""
    read = _listed(recorded, stage.name, "deps")
    made = {path: entry for name in recorded for path, entry in _listed(recorded, name, "outs").items()}
    found = []
    for path in stage.inputs.values():
        then = read.get(str(path), {})
        if str(path) in made:
            same = made[str(path)].get("md5") == then.get("md5") and (path.suffix == "" or _is_as(path, read))
        else:
            same = _weight(path) == (then.get("size"), then.get("nfiles", 1))
        if not same:
            found.append(f"{path} changed since")
    return found


def _listed(recorded: Lock, stage: str, key: str) -> dict[str, Mapping[str, Any]]:
    return {item["path"]: item for item in recorded.get(stage, {}).get(key, [])}


def _is_as(path: Path, listed: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a small file is, byte for byte, the one that is listed under its path."""
    if not path.is_file():
        return False
    return oid_of(path.read_bytes()) == listed.get(str(path), {}).get("md5")


def _weight(path: Path) -> tuple[int, int]:
    """Bytes and number of files: what tells most changes of raw data without reading it."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files), len(files)
