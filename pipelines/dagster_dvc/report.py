"""What came out of a stage, as Dagster metadata: metrics as numbers and as a table, curves as pictures, text as text.

Numbers keep their names from run to run, so that Dagster plots them over time. Everything is read from the stage's
files after the fact; a file that is missing or in a format of its own is passed over: a report never fails a result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.dagster_dvc import picture
from pipelines.dagster_dvc.archive import oid_of
from pipelines.dagster_dvc.graph import Output, Stage

TEXT_CHARACTERS = 20_000  # of one file; the whole of it stands in Dagster's event log
STAGE = "stage"  # every asset of ours says which it belongs to
Metadata = dict[str, dg.MetadataValue]


def declared(stage: Stage, output: Output) -> Metadata:
    """What is known before a run: shown as the definition of the asset."""
    command = stage.declared.command
    told: Metadata = {STAGE: dg.MetadataValue.text(stage.name), "path": dg.MetadataValue.text(output.path)}
    if command:
        told["command"] = dg.MetadataValue.text(command if isinstance(command, str) else "\n".join(command))
    if stage.declared.parameters:
        told["parameters"] = dg.MetadataValue.json(json.loads(json.dumps(stage.declared.parameters, default=str)))
    return told


def results(root: Path, stage: Stage) -> Metadata:
    """Metrics and curves of a stage that has run, where they lie there as dvc.lock has them."""
    metrics: dict[str, Any] = {}
    told: Metadata = {}
    for output in filter(lambda output: _is_as_recorded(root, output), stage.outputs):
        if output.role == "metric":
            metrics |= dict(_flat(_read(root / output.path)))
        elif drawn := picture.curve(root / output.path, output.plot):
            name = "curve" if "curve" not in told else f"curve of {Path(output.path).stem}"
            told[name] = dg.MetadataValue.md(drawn)
    return figures(metrics) | told


def figures(*read: Any) -> Metadata:
    """What metrics files say: a table, and numbers by their dotted names."""
    metrics = {name: value for told in read for name, value in _flat(told)}
    numbers = {name: _value(value) for name, value in metrics.items()}
    return numbers | ({"metrics": dg.MetadataValue.md(table(metrics))} if metrics else {})


def texts(root: Path, files: tuple[str, ...]) -> Metadata:
    """What the text files say, by their names."""
    return {Path(file).stem: dg.MetadataValue.md(_text(root / file)) for file in files if (root / file).is_file()}


def links(pages: Mapping[str, str]) -> Metadata:
    """Name -> address, to follow."""
    return {name: dg.MetadataValue.url(address) for name, address in pages.items()}


def size(output: Output) -> Metadata:
    """How many bytes an output takes, where dvc.lock knows."""
    return {} if output.size_bytes is None else {"size_bytes": dg.MetadataValue.int(output.size_bytes)}


def table(values: Mapping[str, Any]) -> str:
    """Name and value, a row each, in Markdown."""
    rows = [f"| {name} | {_shown(value)} |" for name, value in values.items()]
    return "\n".join(["| | |", "|---|---:|", *rows])


def _is_as_recorded(root: Path, output: Output) -> bool:
    """A git checkout, say, changes dvc.lock and leaves files as they were until ``dvc checkout``."""
    path = root / output.path
    if output.role == "data" or not path.is_file():
        return False
    return oid_of(path.read_bytes()) == output.version


def _read(path: Path) -> Any:
    """A metrics file in one of the formats that dvc reads; nothing where it is not there or not in one of them."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text)
        if path.suffix in (".yaml", ".yml"):
            from ruamel.yaml import YAML

            return YAML(typ="safe", pure=True).load(text)
        if path.suffix == ".toml":
            import tomllib

            return tomllib.loads(text)
    except (OSError, ValueError):
        pass
    return {}


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by their dotted names, as ``dvc metrics show`` names them; lists are not metrics."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(value, bool | int | float | str):
        yield prefix or "value", value


def _value(value: bool | int | float | str) -> dg.MetadataValue:
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float) and math.isfinite(value):
        return dg.MetadataValue.float(value)
    return dg.MetadataValue.text(str(value))


def _shown(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value).replace("|", "\\|").replace("\n", " ")
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    rest = len(text) - TEXT_CHARACTERS
    text = text if rest <= 0 else f"{text[:TEXT_CHARACTERS]}\n\n... and {rest:,} characters more in {path.name}"
    return text if path.suffix == ".md" else f"```\n{text}\n```"
