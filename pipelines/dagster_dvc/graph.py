"""What ``dvc.yaml`` declares and what ``dvc.lock`` recorded, as plain records.

DVC parses its own files (``foreach``, ``matrix``, ``vars``, ``wdir``, several files, ``.dvc`` files), so that this can
never read them differently. No lock is taken and nothing is written. Importing this module costs nothing; the first
repository that is opened costs dvc's import, 0.3 s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage

Parameters = Mapping[str, Mapping[str, Any]]  # file -> key -> value


@dataclass(frozen=True)
class Output:
    """One entry under ``outs``, ``metrics`` or ``plots``; `version` is its hash in dvc.lock, None if it never ran."""

    path: str
    role: Literal["data", "metric", "plot"] = "data"
    version: str | None = None
    size_bytes: int | None = None
    description: str | None = None
    plot: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What a result depends on: now, as declared, or then, as dvc.lock recorded it. `inputs`: path -> hash."""

    command: str | tuple[str, ...] | None
    parameters: Parameters
    inputs: Mapping[str, str | None]


@dataclass(frozen=True)
class Stage:
    """One stage of a dvc.yaml, or one ``.dvc`` file, which has no command.

    `name` is how the dvc command addresses it from the project's root: ``train``, ``train@small``,
    ``sub/dvc.yaml:train`` or ``data.csv.dvc``. `recorded` is None until it ran. `hints` are what stands under
    ``meta: {dagster: ...}``.
    """

    name: str
    folder: str
    description: str | None
    frozen: bool
    outputs: tuple[Output, ...]
    declared: Recipe
    recorded: Recipe | None
    hints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The paths it reads."""
        return tuple(self.declared.inputs)


def overlaps(one: str, other: str) -> bool:
    """Whether two paths are the same or one lies inside the other."""
    parts = PurePosixPath(one).parts, PurePosixPath(other).parts
    shared = min(map(len, parts))
    return parts[0][:shared] == parts[1][:shared]


class Project:
    """A DVC project that is open for reading; made by `legible` and `as_it_lies`."""

    def __init__(self, repo: Repo):
        self.repo = repo
        self._read: dict[str, DvcOutput] = {}
        self._found: dict[str, str | None] = {}
        self._locks: dict[str, Mapping[str, Any]] = {}  # DVC would parse the file again for every stage

    @property
    def root(self) -> Path:
        """The folder that holds ``.dvc``."""
        return Path(self.repo.root_dir)

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """dvc's lock on the whole repository, which it holds whenever it writes."""
        return self.repo.lock

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage, in the order of the files that declare them."""
        return tuple(self._stage(stage) for stage in self.repo.index.stages)

    def found(self, path: str) -> str | None:
        """The hash of what lies at `path` now; None where nothing does, or where only a network could tell.

        Only paths that some stage reads, or that a ``.dvc`` file follows, are known here. DVC keeps hashes by time and
        size, so a second look at a large folder is cheap.
        """
        _ = self.stages
        if path not in self._found:
            item = self._read[path]
            here = item.protocol == "local" and item.exists
            self._found[path] = item.get_hash().value if here else None
        return self._found[path]

    def _stage(self, stage: DvcStage) -> Stage:
        inputs = files(stage)
        self._read |= {self._path(item): item for item in inputs}
        if stage.cmd is None:
            self._read |= {self._path(item): item for item in stage.outs}
        file = _relative(self.repo, stage.path)
        return Stage(
            name=name_of(self.repo, stage),
            folder=PurePosixPath(file).parent.as_posix(),
            description=stage.desc,
            frozen=stage.frozen,
            outputs=tuple(self._output(item) for item in stage.outs),
            declared=Recipe(_command(stage.cmd), _declared(stage), {self._path(item): None for item in inputs}),
            recorded=self._recorded(stage, inputs),
            hints=_hints(stage.meta),
        )

    def _output(self, item: DvcOutput) -> Output:
        return Output(
            path=self._path(item),
            role="metric" if item.metric else "plot" if item.plot else "data",
            version=item.hash_info.value if item.hash_info else None,
            size_bytes=item.meta.size,
            description=item.annot.desc,
            plot=item.plot if isinstance(item.plot, dict) else {},
            hints=_hints(item.annot.meta),
        )

    def _recorded(self, stage: DvcStage, inputs: list[DvcOutput]) -> Recipe | None:
        entry = self._lock_entry(stage)
        if entry is None:
            return None
        return Recipe(
            _command(entry.get("cmd")),
            entry.get("params", {}),
            {self._path(item): item.hash_info.value if item.hash_info else None for item in inputs},
        )

    def _lock_entry(self, stage: DvcStage) -> Mapping[str, Any] | None:
        """What dvc.lock holds of the stage; for a ``.dvc`` file, which is its own record, that it is there."""
        if stage.cmd is None:
            return {}
        if stage.path not in self._locks:
            self._locks[stage.path] = stage.dvcfile.lockfile_contents.get("stages", {})
        entry: Mapping[str, Any] | None = self._locks[stage.path].get(getattr(stage, "name", ""))
        return entry

    def _path(self, item: DvcOutput) -> str:
        return path_of(self.repo, item)


@contextmanager
def repository(root: str | os.PathLike[str]) -> Iterator[Repo]:
    """The project at `root` as dvc itself sees it."""
    from dvc.repo import Repo

    with Repo(os.fspath(root)) as repo:
        yield repo


class UnreadableError(Exception):
    """dvc cannot read the project; the text is dvc's own reason, in a line. `path`: the file at fault, if known.

    lacks_git: it is no git repository, and its configuration does not say that it is to be none.
    """

    def __init__(self, error: Exception) -> None:
        from dvc.scm import SCMError

        super().__init__(" ".join(str(error).split()))
        self.lacks_git = isinstance(error, SCMError)
        self.path = Path(path) if (path := getattr(error, "path", None)) else None


class BusyError(Exception):
    """A dvc writes for longer than the reader wants to wait."""


@contextmanager
def _unreadable() -> Iterator[None]:
    """What dvc raises inside, as an UnreadableError."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise UnreadableError(error) from error


@contextmanager
def readable(root: str | os.PathLike[str]) -> Iterator[Repo]:
    """As `repository`; an UnreadableError where there is none: no git, no .dvc, a configuration not understood."""
    with ExitStack() as stack:
        with _unreadable():
            repo = stack.enter_context(repository(root))
        yield repo


@contextmanager
def as_it_lies(root: str | os.PathLike[str]) -> Iterator[Project]:
    """As `legible`, at once: where a dvc is just rewriting its dvc.lock, an UnreadableError."""
    with readable(root) as repo:
        project = Project(repo)
        with _unreadable():
            _ = project.stages
        yield project


@contextmanager
def legible(root: str | os.PathLike[str], *, patient: bool = True) -> Iterator[Project]:
    """The DVC project at `root`, its stages read once no dvc was writing: dvc rewrites its dvc.lock in place.

    That may take as long as a `dvc push`, and is told. An UnreadableError where they cannot be read. Who is not
    `patient` gets a BusyError after 3 s; a large commit takes longer.
    """
    from dvc.lock import LockError

    said = False
    with readable(root) as repo:
        project = Project(repo)
        while True:
            try:
                with project.lock, _unreadable():
                    _ = project.stages
                break
            except LockError as error:
                if not patient:
                    raise BusyError(f"a dvc is at work in {project.root}") from error
                if not said:
                    print(f"waiting for the dvc that is at work in {project.root}", file=sys.stderr, flush=True)
                said = True
        yield project


def settled(root: str | os.PathLike[str], *, patient: bool = True) -> dict[str, Stage]:
    """Name -> stage of the DVC project at `root`; waits and fails as `legible` does."""
    with legible(root, patient=patient) as project:
        return {stage.name: stage for stage in project.stages}


def files(stage: DvcStage) -> list[DvcOutput]:
    """What a stage reads, other than parameters."""
    return [item for item in stage.deps if item not in stage.params]


def path_of(repo: Repo, item: DvcOutput) -> str:
    """Where an input or output lies, from the project's root; what lies elsewhere, as it was declared."""
    return _relative(repo, item.fs_path) if item.protocol == "local" else str(item.def_path)


def name_of(repo: Repo, stage: DvcStage) -> str:
    """How the dvc command calls a stage from the project's root."""
    file, name = _relative(repo, stage.path), getattr(stage, "name", None)
    if name is None:
        return file
    return name if file == "dvc.yaml" else f"{file}:{name}"


def _relative(repo: Repo, path: str) -> str:
    return Path(os.path.relpath(path, repo.root_dir)).as_posix()


def _command(command: str | list[str] | None) -> str | tuple[str, ...] | None:
    return tuple(command) if isinstance(command, list) else command


def _declared(stage: DvcStage) -> dict[str, dict[str, Any]]:
    return {parameter.def_path: dict(parameter.read_params()) for parameter in stage.params}


def _hints(meta: Mapping[str, Any] | None) -> Mapping[str, Any]:
    hints = (meta or {}).get("dagster", {})
    return hints if isinstance(hints, Mapping) else {}
