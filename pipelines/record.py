"""The work record: everything that a stage's result depends on, read when the work begins and again when it ends.

DVC hashes a stage's dependencies *after* its command. What is edited while a training runs would be recorded beside
weights that never saw it, in `dvc.lock` and in the run cache, for good. So a stage compares for itself, twice:

- on entry, the plan that design wrote for it with the plan that design would write now;
- on leaving, the same again, and its data with what it was on entry.

The record's hash is the work's identity: it names the scratch folder, and finds the same work again anywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lmmodel import folder
from lmmodel.params.kinds import Chosen
from lmmodel.params.refusal import Refusal
from pipelines import fingerprint, paths
from pipelines.parameters import SEEDED, Parameters


@dataclass(frozen=True)
class Record:
    """`plan`: the stage's section, complete, and the hashes of its code. `inputs`: path of its data -> digest."""

    stage: str
    plan: dict[str, Any]
    inputs: dict[str, str]

    @property
    def identity(self) -> str:
        """The record's content hash: equal wherever the same work is done."""
        return _hash(asdict(self))[:32]


def read(stage: paths.Stage) -> Record:
    """What stands now: the plan that design wrote, and the stage's data."""
    inputs = {name: digest for path in stage.inputs.values() for name, digest in digests(path)}
    return Record(stage.name, _written_plan(stage), dict(sorted(inputs.items())))


def plans(parameters: Parameters) -> dict[str, dict[str, Any]]:
    """What design writes for each later stage: its section with nothing left open, the code that it uses, and hashes of
    what the stages before it are.

    DVC runs a stage again when its data changed. By `after` it also runs again when code of a stage before it changed,
    whether or not that changed the data; and after a training that was told otherwise.
    """
    own = {name: _own(name, parameters) for name in parameters.sections if name in paths.stages()}
    hashes = {name: _hash(made if name in SEEDED else made["code"]) for name, made in own.items()}
    return {name: {**made, "after": {one: hashes[one] for one in paths.before(name)}} for name, made in own.items()}


def _own(name: str, parameters: Parameters) -> dict[str, Any]:
    """The part of a plan that the stage itself reads."""
    told: list[Any] = [parameters.sections[name]]
    if paths.reads_design(name):
        told.append(parameters.declaration)
    code = fingerprint.closure([f"pipelines.{name}", *sorted(kinds(told))])
    return {"section": parameters.section(name), "code": code}


def kinds(told: Any) -> set[str]:
    """The modules of the kinds that are chosen anywhere inside `told`: settings, lists and mappings of them."""
    if isinstance(told, Chosen):
        return {type(told.options).__module__.removesuffix(":options")} | kinds(told.options)
    if isinstance(told, dict):
        return kinds(list(told.values()))
    if isinstance(told, list | tuple):
        return {module for item in told for module in kinds(item)}
    return kinds([getattr(told, field) for field in getattr(type(told), "model_fields", ())])


def changes(stage: paths.Stage, written: dict[str, Any], parameters: Parameters) -> list[str]:
    """How params.yaml and the code on disk differ from what design made of them when it wrote `stage`'s plan."""
    now = _own(stage.name, parameters)
    found = values(written["section"], now["section"], stage.name)
    if paths.DECLARATION in stage.inputs.values():
        declared = json.loads(paths.DECLARATION.read_text(encoding="utf-8"))
        moved = values(declared, parameters.declaration.dump(), "model")
        found += sorted(moved, key=lambda line: line.partition(" ")[0].count("."))  # the model's own sizes first
    return found + _codes(written["code"], now["code"])


def differences(before: dict[str, Any], after: dict[str, Any], stage: str) -> list[str]:
    """How two plans of `stage` differ; where they do so only in what the stages before it are made of, their names."""
    own = values(before["section"], after["section"], stage) + _codes(before["code"], after["code"])
    earlier = {key: after["after"].get(key) != digest for key, digest in before["after"].items()}
    return own or [f"{name} is made of other code or settings" for name, moved in earlier.items() if moved]


def drift(before: Record, after: Record) -> list[str]:
    """How the data of a stage differ between the beginning and the end of its work."""
    keys = sorted(before.inputs.keys() | after.inputs.keys())
    return [
        f"{key} {_moved(key, before.inputs, after.inputs)}"
        for key in keys
        if before.inputs.get(key) != after.inputs.get(key)
    ]


def _hash(value: Any) -> str:
    return hashlib.sha256(folder.canonical(value).encode()).hexdigest()


def _written_plan(stage: paths.Stage) -> dict[str, Any]:
    try:
        return json.loads(stage.plan.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(f"{stage.plan}: is missing; `dvc repro` makes it before it starts {stage.name}") from None
    except ValueError as error:
        raise Refusal(f"{stage.plan}: is damaged ({error}); `dvc repro -f design` makes it again") from None


def digests(path: Path) -> Iterator[tuple[str, str]]:
    """What tells the content of one input: of a stage's folder its index, of a file or a raw folder every byte."""
    if path.is_file():
        yield str(path), _digest(path)
    elif is_sealed(path):
        folder.facts(path)
        yield str(path), _digest(path / folder.INDEX)
    elif path.is_dir():
        yield from ((str(file), _digest(file)) for file in sorted(path.rglob("*")) if file.is_file())
    else:
        raise Refusal(f"{path}: is missing; `dvc repro` makes what a stage needs before it starts the stage")


def is_sealed(path: Path) -> bool:
    """Whether `path` is a stage's folder, which explains and proves itself."""
    return any(path == stage.output for stage in paths.stages().values())


def _digest(path: Path) -> str:
    state = path.stat()
    return _remembered(path, state.st_size, state.st_mtime_ns, state.st_ino)


@cache
def _remembered(path: Path, size: int, modified: int, inode: int) -> str:
    """Large raw files are read once a process, unless they were touched since."""
    return folder.digest(path)


def values(before: Any, after: Any, key: str = "") -> list[str]:
    """`key.of.a.value was 3 and is 4 now`, for every value that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for name in sorted(before.keys() | after.keys())
            for line in values(before.get(name, _NOTHING), after.get(name, _NOTHING), f"{key}.{name}".lstrip("."))
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            line
            for index, pair in enumerate(zip(before, after, strict=True))
            for line in values(*pair, f"{key}.{index}")
        ]
    return [] if before == after else [f"{key} was {_shown(before)} and is {_shown(after)} now"]


def some(lines: list[str], most: int = 3) -> str:
    """The first of `lines` in one, and how many more there are."""
    return "; ".join(lines[:most]) + (f"; and {len(lines) - most} more" if len(lines) > most else "")


_NOTHING = object()


def _shown(value: Any) -> str:
    text = "not there" if value is _NOTHING else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _codes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    keys = sorted(before.keys() | after.keys())
    return [f"the code of {key} {_moved(key, before, after)}" for key in keys if before.get(key) != after.get(key)]


def _moved(key: str, before: dict[str, str], after: dict[str, str]) -> str:
    return "is gone" if key not in after else "is new" if key not in before else "changed"
