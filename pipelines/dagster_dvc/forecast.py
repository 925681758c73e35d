"""What ``dvc repro`` would do, stage by stage, found out without doing it.

``dvc repro --dry`` cannot tell: it looks at each stage as if those before it had done nothing. Here the hashes that
each stage will leave behind are carried along. They are known where it is unchanged, where dvc's run cache has what it
would make, and where the caller can foretell them. Of a stage that runs they are unknown, and a stage after it runs
*unless* they come out as they once were. Nothing is run and nothing is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.dagster_dvc import health
from pipelines.dagster_dvc.archive import Archive
from pipelines.dagster_dvc.graph import files, name_of, overlaps, path_of

if TYPE_CHECKING:
    from dvc.dependency.param import ParamsDependency
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

Action = Literal["unchanged", "restored", "run", "run unless"]
ANOTHER, ONLY_HERE = "another", "only here"
"""Of an output: in its place lies another result that the cache has, as a git checkout leaves it, say; or it lies there
itself, and the cache has lost it.
"""

Foretell = Callable[[str], Mapping[str, str]]
"""Stage -> path -> MD5 of those of its outputs that are known although it has yet to run."""


@dataclass(frozen=True)
class Change:
    """Something that is not as `dvc.lock` has it: a path with its hashes, or a parameter `file:key` with its values."""

    what: str
    then: Any
    now: Any


@dataclass(frozen=True)
class Verdict:
    """What becomes of one stage, and why.

    changes: what it reads and is not as it was. harmed: outputs that do not lie there as recorded, and what is
    wrong with them, in a word of dvc's, `ANOTHER` or `ONLY_HERE`.
    unless: the stages whose bytes decide. inputs, outputs: path -> hash at that time, None where nobody can know.
    """

    stage: str
    action: Action
    recorded: bool
    changes: tuple[Change, ...] = ()
    harmed: Mapping[str, str] = field(default_factory=dict)
    unless: tuple[str, ...] = ()
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    outputs: Mapping[str, str | None] = field(default_factory=dict)


def forecast(repo: Repo, foretell: Foretell = lambda stage: {}) -> list[Verdict]:
    """A verdict for every stage that has a command, in the order in which dvc comes to them."""
    from dvc.repo.reproduce import get_active_graph, plan_repro

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # dvc's own use of pygtrie
        order = plan_repro(get_active_graph(repo.index.graph))
    told = _Forecast(repo, foretell)
    return [told.verdict(stage) for stage in order if stage.cmd]


class _Forecast:
    """The hashes that will stand, as far as the stages were looked at."""

    def __init__(self, repo: Repo, foretell: Foretell) -> None:
        self._repo = repo
        self._archive = Archive(repo)
        self._foretell = foretell
        self._after: dict[str, str | None] = {}
        self._makers: dict[str, str] = {}
        self._settled: set[str] = set()

    def verdict(self, stage: Stage) -> Verdict:
        inputs = {self._path(item): self._expected(item) for item in files(stage)}
        open_ = [path for path, oid in inputs.items() if oid is None]
        changes = tuple(self._changes(stage, inputs)) if not stage.frozen else ()
        harmed = {self._path(out): self._named(out, word) for out in stage.outs for word in out.status().values()}
        action, outputs = self._action(stage, inputs, changes=bool(changes), harmed=bool(harmed))
        makers = tuple(dict.fromkeys(self._maker(path) for path in open_))
        name = name_of(self._repo, stage)
        self._after |= outputs
        self._makers |= dict.fromkeys(outputs, name)
        self._settled |= {name} if action == "unchanged" else set()
        unless = makers if action == "run unless" else ()
        return Verdict(name, action, _is_recorded(stage), changes, harmed, unless, inputs, outputs)

    def _action(
        self, stage: Stage, inputs: Mapping[str, str | None], *, changes: bool, harmed: bool
    ) -> tuple[Action, dict[str, str | None]]:
        """What happens, and the outputs after it. In dvc's order: first what changed, then what its caches have."""
        unknown: dict[str, str | None] = {self._path(out): None for out in stage.outs}
        is_open = None in inputs.values() and not stage.frozen
        if stage.always_changed or stage.is_callback:
            return "run", unknown
        if not changes and not is_open:
            if not harmed:
                return "unchanged", self._hashes(stage)
            if stage.frozen or self._is_cached(stage):
                return "restored", self._hashes(stage)
        elif is_open and (self._could_stand(stage, changes=changes) or self._alike(stage, inputs)):
            return "run unless", unknown
        elif not is_open and (found := self._known(stage, inputs)):
            return "restored", found
        return "run", {**unknown, **self._foretell(name_of(self._repo, stage))}

    def _named(self, out: Output, word: str) -> str:
        if word == "modified" and self._archive.has(str(out.get_hash().value)):
            return ANOTHER
        return ONLY_HERE if word == "not in cache" and health.lies_here(out) else word

    # --- what it reads

    def _expected(self, item: Output) -> str | None:
        """The hash of an input once the stages before are done."""
        path = self._path(item)
        if path in self._after:
            return self._after[path]
        maker = self._maker(path)
        if maker and maker not in self._settled:
            return None  # a part of what is yet to be made
        return str(item.get_hash().value) if item.protocol == "local" and item.exists else ""

    def _maker(self, path: str) -> str:
        return next((maker for made, maker in self._makers.items() if overlaps(made, path)), "")

    def _changes(self, stage: Stage, inputs: Mapping[str, str | None]) -> Iterator[Change]:
        if stage.changed_stage():
            then = stage.dvcfile.lockfile_contents.get("stages", {}).get(getattr(stage, "name", ""), {}).get("cmd")
            yield Change("cmd", then, stage.cmd)
        for item in stage.params:
            yield from _parameters(item)
        for item in files(stage):
            path, then = self._path(item), item.hash_info.value if item.hash_info else None
            if inputs[path] is not None and inputs[path] != then:
                yield Change(path, then, inputs[path])

    # --- what dvc's caches have

    def _hashes(self, stage: Stage) -> dict[str, str | None]:
        return {self._path(out): out.hash_info.value for out in stage.outs}

    def _is_cached(self, stage: Stage) -> bool:
        return all(bool(out.hash_info) for out in stage.outs) and stage.outs_cached()

    def _could_stand(self, stage: Stage, *, changes: bool) -> bool:
        """Whether what `dvc.lock` has would do, should the inputs that are yet to be made come out as they were."""
        return _is_recorded(stage) and not changes and self._is_cached(stage)

    def _known(self, stage: Stage, inputs: Mapping[str, str | None]) -> dict[str, str | None]:
        """The outputs that the run cache has for these very inputs, if all of them are in the cache."""
        from dvc.stage.cache import _get_cache_hash
        from dvc.stage.serialize import to_single_stage_lockfile
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.meta import Meta

        if not _has_run_cache(stage):
            return {}
        for item in stage.params:
            item.save()  # takes the values of now; nothing is written
        for item in files(stage):
            item.hash_info, item.meta = HashInfo(item.hash_name, inputs[self._path(item)]), Meta()
        key = _get_cache_hash(to_single_stage_lockfile(stage), key=True)
        entries = sorted((self._runs / key[:2] / key).glob("*"), key=lambda path: path.stat().st_mtime)
        return self._stood(stage, _entry(entries[-1])) if entries else {}

    def _alike(self, stage: Stage, inputs: Mapping[str, str | None]) -> bool:
        """Whether the run cache has anything for the inputs that are known, whatever the others come to."""
        if not _has_run_cache(stage):
            return False
        names = {item.def_path: inputs[self._path(item)] for item in files(stage)}
        known = {path: oid for path, oid in names.items() if oid is not None}
        given = {item.def_path: dict(item.read_params()) for item in stage.params}
        for path in self._runs.glob("*/*/*"):
            text = path.read_text(encoding="utf-8", errors="replace")
            if not all(str(oid) in text for oid in known.values()):
                continue
            entry = _entry(path)
            read = {item["path"]: item.get("md5") for item in entry.get("deps", [])}
            same = read.keys() == names.keys() and known.items() <= read.items()
            if same and entry["cmd"] == stage.cmd and entry.get("params", {}) == given and self._stood(stage, entry):
                return True
        return False

    def _stood(self, stage: Stage, entry: dict[str, Any]) -> dict[str, str | None]:
        """The outputs that the run cache once noted, where they are these and all in the cache."""
        made = {out["path"]: str(out.get("md5", "")) for out in entry.get("outs", [])}
        if made.keys() != {out.def_path for out in stage.outs} or not all(map(self._archive.has, made.values())):
            return {}
        return {self._path(out): made[out.def_path] for out in stage.outs}

    @property
    def _runs(self) -> Path:
        return Path(self._repo.stage_cache.cache_dir)

    def _path(self, item: Output) -> str:
        return path_of(self._repo, item)


def _parameters(item: ParamsDependency) -> Iterator[Change]:
    then = item.hash_info.value if item.hash_info else {}
    now = item.read_params()
    for key in item.params:
        if key not in then or then[key] != now.get(key):
            yield Change(f"{item.def_path}:{key}", then.get(key), now.get(key))


def _is_recorded(stage: Stage) -> bool:
    return all(bool(out.hash_info) for out in stage.outs)


def _has_run_cache(stage: Stage) -> bool:
    """dvc's own conditions, but for whether the inputs lie there already."""
    local = all(item.protocol == "local" and item.def_path for item in [*files(stage), *stage.outs])
    return bool(stage.deps and stage.outs) and local and all(not out.persist and out.is_in_repo for out in stage.outs)


def _entry(path: Path) -> dict[str, Any]:
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import load_yaml

    try:
        entry: dict[str, Any] = load_yaml(str(path))
    except DvcException:
        return {}
    return entry if isinstance(entry, dict) else {}
