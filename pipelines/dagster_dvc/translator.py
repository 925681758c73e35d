"""What a stage looks like in Dagster; subclass `Translator` and override a method to change it.

Every output under ``outs`` is an asset: one version for several of them would call the readers of all stale when one
changed. Metrics and plots are metadata of these assets, unless another stage reads them or the stage has nothing else.
Hints stand in dvc.yaml, where they never invalidate a stage::

    meta:
      dagster:
        assets: [models/design/declaration.json]   # of the outputs only these; the others are details
        group: models                              # else all are in one
        kinds: [pytorch]
        pool: device                               # stages of a pool take turns
        show: [models/evaluate/report.md]          # files whose text is shown with the result

A single output may carry ``meta: {dagster: {key: group/name}}``, which is then its key.

A *detail* is an output that does not stand in the graph, because it carries code or settings rather than data: it is
part of the ``code_version`` of the stages that read it, and the stage that writes it is brought up to date before they
run. Files that no stage writes (sources, text brought by hand) are part of the code version of who reads them, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import dagster as dg

from pipelines.dagster_dvc import live, places
from pipelines.dagster_dvc.graph import Output, Stage


class Translator:
    """The general rule for any dvc.yaml."""

    def is_asset(self, stage: Stage, output: Output) -> bool:
        """Whether an output may stand in the graph; a metric that a stage reads does in any case."""
        named = stage.hints.get("assets")
        if named is not None:
            return any(fnmatch(output.path, pattern) for pattern in named)
        return output.role == "data"

    def key(self, stage: Stage, output: Output, *, alone: bool) -> dg.AssetKey:
        """The stage's name when the output is `alone` on it, else with the output's name after it."""
        if "key" in output.hints:
            return dg.AssetKey(str(output.hints["key"]).split("/"))
        parts = stage_key(stage)
        if not alone:
            path = PurePosixPath(output.path)
            parts += (path.relative_to(stage.folder) if path.is_relative_to(stage.folder) else path).parts
        return dg.AssetKey([re.sub(r"[^\w.-]", "_", part) for part in parts])

    def description(self, stage: Stage, output: Output) -> str | None:
        """Shown under the asset's name."""
        return output.description or stage.description

    def group(self, stage: Stage, output: Output) -> str | None:
        """The box that the asset is drawn in; Dagster folds the boxes up as soon as there are two."""
        return stage.hints.get("group")

    def kinds(self, stage: Stage, output: Output) -> set[str]:
        """The badges on the asset; Dagster takes three."""
        return {"dvc", *stage.hints.get("kinds", ())}

    def pool(self, stage: Stage) -> str | None:
        """Ops of one pool take turns, across runs, as the instance's limits say."""
        return stage.hints.get("pool")

    def shown(self, stage: Stage) -> tuple[str, ...]:
        """Text files that are shown with the result."""
        return tuple(stage.hints.get("show", ()))

    def look(self, root: Path, stage: Stage) -> live.Look:
        """What sees the numbers of a stage while it runs; asked for just before. In general the rows of its plots."""
        plots = [root / output.path for output in stage.outputs if output.role == "plot"]
        return live.Rows([path for path in plots if path.suffix in (".csv", ".tsv")])

    def links(self, stage: Stage) -> Mapping[str, str]:
        """Name -> address of pages about the result of a stage that has just run."""
        return {}

    def sources(self, root: Path, stage: Stage) -> list[places.Place]:
        """Where a person would change the stage: lines of its dvc.yaml and of its parameter files."""
        return places.of(root, stage)

    def foreseen(self, path: str) -> str | None:
        """The hash that a detail will have once its stage has run, where a project can tell without running it.

        Without this a change reaches the code version of the readers only when the detail was written anew and the
        definitions were loaded again.
        """
        return None


def stage_key(stage: Stage) -> list[str]:
    """``train@small`` -> ["train", "small"], ``sub/dvc.yaml:train`` -> ["sub", "train"]: Dagster refuses the signs."""
    name = stage.name.rpartition(":")[2] if ":" in stage.name else stage.name
    folder = [] if stage.folder == "." else list(PurePosixPath(stage.folder).parts)
    if not stage.declared.command:
        name = PurePosixPath(name).name.removesuffix(".dvc")
    return [*folder, *name.split("@", 1)]
