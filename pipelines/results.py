"""Results of this project, wherever they are: an experiment, a commit, a folder. Read off what the stages wrote.

Not from MLflow: a fresh clone after `dvc pull` has all of this.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmmodel.params import document
from lmmodel.params.refusal import Refusal, suggestion
from pipelines import parameters, paths
from pipelines.dagster_dvc import graph
from pipelines.dagster_dvc.archive import Archive
from pipelines.tracking.opening import flat


class ElsewhereError(Refusal):
    """What a result came to is in no cache that can be asked from here."""


Read = Callable[[str], str | None]
"""A file of the project as it was committed, by its path; None where it was not there."""


@dataclass(frozen=True)
class Result:
    """What was trained and what came out.

    chosen: params.yaml as it was written, without `launch`. declared: the declaration and all sections, complete, by
    dotted key. numbers: the metrics of the stages, by `<stage>.<key>`.
    """

    name: str
    chosen: dict[str, Any] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """What drew the first weights."""
        return int(self.chosen.get("seed", 0))

    def value(self, key: str) -> str | None:
        """The value under a dotted key, as it was written, or else as it was resolved; None where there is none."""
        found: Any = self.chosen
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found is None:
            return self.declared.get(key)
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def find(words: list[str]) -> list[Result]:
    """The results that `words` name. `key=value` chooses among them, or, alone, among all on this commit."""
    names = [word for word in words if "=" not in word]
    wanted = [word.partition("=")[::2] for word in words if "=" in word]
    with _opened(".") as archive:
        known = _experiments()
        read = [(name, _revision(name, known)) for name in names]
        found = [_result(name, _at(rev), archive) if rev else _beside(name) for name, rev in read]
        found = found or _here(known, archive)
    chosen = [one for one in found if all(one.value(key) == value for key, value in wanted)]
    if not chosen:
        raise Refusal(f"no result has {' and '.join(f'{key}={value}' for key, value in wanted)}")
    return chosen


def _here(known: dict[str, str], archive: Archive) -> list[Result]:
    """All on this commit but what is elsewhere, which is told: in a clone the commit's own are another machine's."""
    found, missing = [], []
    for name, revision in _all(known):
        try:
            found.append(_result(name, _at(revision), archive))
        except ElsewhereError as error:
            missing.append(error)
    if missing and not found:
        raise missing[0]
    for one in missing:
        print(f"left out: {one}", file=sys.stderr)
    return found


def _all(known: dict[str, str]) -> list[tuple[str, str]]:
    """This commit and the experiments that began from it."""
    head = _git("rev-parse", "HEAD")
    here = f"refs/exps/{head[:2]}/{head[2:]}/"
    began = [(name, ref) for name, ref in known.items() if ref.startswith(here)]
    committed = _at("HEAD")("dvc.lock")
    return [*([("HEAD", "HEAD")] if committed and "pretrain:" in committed else []), *began]


def _experiments() -> dict[str, str]:
    """The name of every experiment and where git keeps it: `refs/exps/<commit it began from>/<name>`."""
    refs = _git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    return {ref.split("/")[4]: ref for ref in refs if [len(part) for part in ref.split("/")[2:4]] == [2, 38]}


def _revision(name: str, known: dict[str, str]) -> str:
    """What git calls the result; nothing where it is a folder."""
    if name in known:
        return known[name]
    if not name.startswith("-") and _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"):
        return name
    if (Path(name) / paths.LOCK).is_file():
        return ""
    choices = ", ".join(known) or "none yet"
    text = f"'{name}' is neither an experiment ({choices}), nor a revision of git, nor a folder with a dvc.lock"
    raise Refusal(f"{text}{suggestion(name, list(known))}")


def _at(revision: str) -> Read:
    def read(path: str) -> str | None:
        return _git("show", f"{revision}:{path}") or None

    return read


def _beside(name: str) -> Result:
    """The result in a folder: this project's own, `.`, or another copy of it."""

    def read(path: str) -> str | None:
        file = Path(name) / path
        return file.read_text(encoding="utf-8") if file.is_file() else None

    with _opened(name) as archive:
        return _result(name, read, archive)


@contextmanager
def _opened(root: str) -> Iterator[Archive]:
    """The cache of the project at `root`, and its remote."""
    try:
        with graph.readable(root) as repo:
            yield Archive(repo, fetching=True)
    except graph.UnreadableError as error:  # no project, no git
        raise Refusal(str(error)) from None


def _result(name: str, read: Read, archive: Archive) -> Result:
    stages = document.parse(read("dvc.lock") or "stages: {}", name="dvc.lock").data.get("stages") or {}
    made = _made(name, stages)
    loaded = {path: _load(name, path, made, archive) for path in _wanted(made)}
    sections = {path.stem: loaded[str(path)]["section"] for path in _plans() if str(path) in loaded}
    declared = flat({"model": loaded.get(str(paths.DECLARATION), {}), **sections})
    numbers = {
        f"{stage}.{key}": float(value)
        for stage in ("pretrain", "finetune", "evaluate")
        for key, value in parameters.flatten(loaded.get(f"models/{stage}.json", {})).items()
        if isinstance(value, int | float)
    }
    return Result(name, stages["design"]["params"]["params.yaml"], declared, numbers)


def _made(name: str, stages: dict[str, Any]) -> dict[str, str]:
    """Path -> hash of everything that the stages of a `dvc.lock` made."""
    made = {item["path"]: item.get("md5", "") for entry in stages.values() for item in entry.get("outs", [])}
    if "models/pretrain.json" not in made or "design" not in stages:
        raise Refusal(f"{name}: no model was trained there, as far as its dvc.lock says")
    read = {item["path"]: item.get("md5", "") for item in stages["pretrain"]["deps"]}
    if any(read.get(path) != made.get(path) for path in (str(paths.DECLARATION), str(paths.DESIGN / "pretrain.json"))):
        raise Refusal(f"{name}: its model was trained with other parameters than stand there; `dvc repro` comes first")
    return made


def _plans() -> list[Path]:
    return [paths.DESIGN / f"{stage}.json" for stage in parameters.SECTIONS]


def _wanted(made: dict[str, str]) -> Iterator[str]:
    metrics = [f"models/{stage}.json" for stage in ("pretrain", "finetune", "evaluate")]
    yield from (path for path in [str(paths.DECLARATION), *map(str, _plans()), *metrics] if path in made)


def _load(name: str, path: str, made: dict[str, str], archive: Archive) -> dict[str, Any]:
    content = archive.read(made[path])
    if content is None:
        remedy = f"`dvc exp pull origin {name}` or `dvc pull` brings it, where it was pushed"
        raise ElsewhereError(f"{name}: its {path} is not in DVC's cache; {remedy}")
    told: dict[str, Any] = json.loads(content)
    return told


def _git(*words: str) -> str:
    """What a git command prints; nothing where it fails."""
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
