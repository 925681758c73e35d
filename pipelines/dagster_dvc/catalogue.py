"""The stages of a project as Dagster knows them: which outputs are assets, what they depend on, their versions.

Two versions decide what Dagster calls unsynced, and both follow dvc.lock, so that it says what ``dvc status`` says:

* a *data version* is the hash of the output; equal bytes never make a reader stale;
* a *code version* is a hash of the command, the parameters and all that a stage reads without its being an asset.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import dagster as dg

from pipelines.dagster_dvc.graph import Output, Project, Recipe, Stage, overlaps, path_of
from pipelines.dagster_dvc.translator import Translator

NEVER = "never ran"
NOT_CACHED = "not in cache"  # dvc's word for an output that lies there, and that it could not bring back


class Catalogue:
    """Stages, seen through a translator."""

    def __init__(self, stages: Iterable[Stage], translator: Translator):
        self.translator = translator
        self.stages = {stage.name: stage if stage.outputs else _with_token(stage) for stage in stages}
        self._told: dict[str, str] | None = None
        self._read = {path for stage in self.stages.values() for path in stage.inputs}
        self._writer = {output.path: stage for stage in self.stages.values() for output in stage.outputs}

    @cached_property
    def keys(self) -> dict[str, dg.AssetKey]:
        """Path -> key of every output that is an asset."""
        return {
            asset.path: self.translator.key(stage, asset, alone=len(self.assets(stage)) == 1)
            for stage in self.stages.values()
            for asset in self.assets(stage)
        }

    def assets(self, stage: Stage) -> list[Output]:
        """The outputs of a stage that stand in the graph: at least one."""
        chosen = [output for output in stage.outputs if self._is_asset(stage, output)]
        return chosen or list(stage.outputs[:1])

    def upstream(self, stage: Stage) -> list[str]:
        """The paths of the assets that a stage reads; of a frozen one none, as dvc cuts it off."""
        wanted = () if stage.frozen else stage.inputs
        own = {output.path for output in stage.outputs}
        return [path for path in self.keys if path not in own and any(overlaps(path, other) for other in wanted)]

    def prerequisites(self, stage: Stage) -> list[str]:
        """The stages that write the details which this one reads, after those that they need in turn."""
        names: list[str] = []
        for writer in self._writers(stage, self._hidden(stage)):
            names += [*self.prerequisites(writer), writer.name]
        return list(dict.fromkeys(names))

    def after(self, names: Iterable[str]) -> list[Stage]:
        """The named stages and all that read, directly or not, what they write."""
        found = set(names)
        for name in self.order:
            if found & {writer.name for writer in self._writers(self.stages[name], self.stages[name].inputs)}:
                found.add(name)
        return [self.stages[name] for name in self.order if name in found]

    @cached_property
    def order(self) -> list[str]:
        """The names of the stages in the order in which ``dvc repro`` takes them, and writes them into dvc.lock."""
        found: dict[str, None] = {}

        def visit(stage: Stage) -> None:
            if stage.name not in found:
                for writer in () if stage.frozen else self._writers(stage, stage.inputs):
                    visit(writer)
                found[stage.name] = None

        for stage in self.stages.values():
            visit(stage)
        return list(found)

    def code_version(self, stage: Stage, project: Project) -> str:
        """Of what is declared and lies there now: `recorded_version` exactly when dvc would find nothing changed."""
        if stage.frozen:
            return self.recorded_version(stage)
        inputs = {path: self._now(path, project) for path in self._sources(stage)}
        if stage.recorded and stage.declared.command:
            inputs |= self._strayed(stage, project)
        return _hash(replace(stage.declared, inputs=inputs))

    def recorded_version(self, stage: Stage) -> str:
        """Of what dvc.lock says the result was made from."""
        if stage.recorded is None:
            return NEVER
        known = {output.path: output.version for output in stage.outputs} | dict(stage.recorded.inputs)
        return _hash(replace(stage.recorded, inputs={path: known.get(path) for path in self._sources(stage)}))

    def data_version(self, path: str) -> str:
        """Of an output, as dvc.lock has it."""
        written = (output for output in self._writer[path].outputs if output.path == path)
        return next(written).version or NEVER

    def read_version(self, stage: Stage, path: str) -> str:
        """The version of the asset at `path` that dvc.lock says `stage` read."""
        recorded = stage.recorded.inputs.get(path) if stage.recorded else None
        return recorded or self.data_version(path)

    def _strayed(self, stage: Stage, project: Project) -> dict[str, str]:
        """What dvc says of outputs and assets read that do not lie there as dvc.lock has them."""
        own = {output.path for output in stage.outputs}
        read = {path for path in self.upstream(stage) if self._astray(project).get(path) != NOT_CACHED}
        return {path: told for path, told in self._astray(project).items() if path in own | read}

    def _astray(self, project: Project) -> dict[str, str]:
        if self._told is None:
            outputs = (output for stage in project.repo.index.stages for output in stage.outs)
            statuses = ((path_of(project.repo, output), output.status()) for output in outputs)
            self._told = {path: str(told) for path, status in statuses for told in status.values()}
        return self._told

    def _writers(self, stage: Stage, paths: Iterable[str]) -> list[Stage]:
        """The other stages that write at `paths`, in the order of these."""
        found = [writer for path in paths for output, writer in self._writer.items() if overlaps(path, output)]
        return [writer for writer in found if writer.name != stage.name]

    def _is_asset(self, stage: Stage, output: Output) -> bool:
        """A metric that another stage reads is data to it, unless a hint says otherwise."""
        if self.translator.is_asset(stage, output):
            return True
        return "assets" not in stage.hints and output.role != "data" and output.path in self._read

    def _hidden(self, stage: Stage) -> list[str]:
        """What a stage reads that is no asset: details, sources, files brought by hand."""
        return [path for path in stage.inputs if not any(overlaps(path, asset) for asset in self.keys)]

    def _sources(self, stage: Stage) -> list[str]:
        """What the code version covers; for a ``.dvc`` file the data itself, since no command makes it."""
        return self._hidden(stage) if stage.declared.command else [output.path for output in stage.outputs]

    def _now(self, path: str, project: Project) -> str | None:
        writer = self._writer.get(path)
        if writer is None or not writer.declared.command:
            return project.found(path)
        version = self.data_version(path)
        return self.translator.foreseen(path) or project.found(path) or (None if version == NEVER else version)


def _with_token(stage: Stage) -> Stage:
    """A stage that writes nothing still is an asset that can be materialized; its version says whether it ran."""
    return replace(stage, outputs=(Output(f"stage:{stage.name}", version="ran" if stage.recorded else None),))


def _hash(recipe: Recipe) -> str:
    parts = {"command": recipe.command, "parameters": recipe.parameters, "inputs": recipe.inputs}
    return hashlib.sha256(json.dumps(_plain(parts), sort_keys=True, default=str).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    """As dvc compares values: 1 and 1.0 are equal, a tuple and a list too."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
