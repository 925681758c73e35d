"""The lines of files that a person would go to from a stage: where it is declared, where its parameters stand."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.definitions.metadata.source_code import CodeReferencesMetadataSet

from pipelines.dagster_dvc.graph import Stage

REFERENCES = "dagster/code_references"
"""Under which Dagster keeps the places in an asset's metadata."""


class Place(NamedTuple):
    """A line (from 1) of a file, and what is found there."""

    file: Path
    line: int
    label: str


def of(root: Path, stage: Stage) -> list[Place]:
    """The declaration of `stage`, and the first line of each of its parameters, where these are written in YAML."""
    file, _, name = stage.name.rpartition(":")
    if not stage.declared.command:
        return [Place(root / stage.name, 1, stage.name)]
    found = lines(root / (file or "dvc.yaml"), [f"stages.{name.partition('@')[0]}"])
    for path, parameters in stage.declared.parameters.items():
        found += lines(root / path, parameters)
    return found


def lines(path: Path, keys: Iterable[str]) -> list[Place]:
    """Where dotted keys stand in a YAML file, of the nearest parent where one is not written out; none elsewhere."""
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return []
    state = path.stat()
    document = _parsed(path, state.st_mtime_ns, state.st_size)
    found = ((key, _line(document, key.split("."))) for key in keys)
    return [Place(path, line, f"{path.name}: {key}") for key, line in found if line is not None]


def references(places: Sequence[Place]) -> dict[str, Any]:
    """The metadata from which Dagster makes links that an editor opens."""
    if not places:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # else it greets everyone who starts Dagster
        found = [
            dg.LocalFileCodeReference(file_path=str(file), line_number=line, label=label)
            for file, line, label in places
        ]
        return dict(CodeReferencesMetadataSet(code_references=dg.CodeReferencesMetadataValue(code_references=found)))


def _line(node: Any, keys: Sequence[str]) -> int | None:
    line = None
    for key in keys:
        if not hasattr(node, "lc") or key not in node:
            break
        line, node = node.lc.key(key)[0] + 1, node[key]
    return line


@lru_cache(maxsize=16)
def _parsed(path: Path, modified: int, size: int) -> Any:
    """With places; nothing where the file is not one that can be read."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="rt", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, ValueError, OSError):
        return None
