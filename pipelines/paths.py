"""Where each stage reads and writes: read off `dvc.yaml`, the one place where the graph is written.

All paths are relative to the project's root, where stages are started.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lmmodel.params import document
from lmmodel.params.refusal import Refusal

GRAPH = Path("dvc.yaml")
LOCK = Path("dvc.lock")
DESIGN = Path("models/design")
DECLARATION = DESIGN / "declaration.json"
OWN = Path(".lmmodel")
"""What stays on this machine: scratch, timings, what was checked before. Ignored by git and DVC."""


@dataclass(frozen=True)
class Stage:
    """One stage's place in the graph.

    `output` is its folder, `metrics` and `curve` stand beside it. `inputs` are the folders and files of data that it
    reads, by the last word of their path. `plan` is what design wrote for it: its section, and the code it uses.
    """

    name: str
    description: str
    output: Path
    metrics: Path
    curve: Path | None
    inputs: dict[str, Path]
    plan: Path


def home(root: Path | None = None) -> Path:
    """The project's own folder, also from within the copy that DVC makes for a queued experiment.

    Such a copy is deleted when the experiment is done or has failed; what should outlive it belongs here.
    """
    root = (root or Path.cwd()).resolve()
    for parent in root.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2]
    return root


def is_copy() -> bool:
    """Whether this is a queued experiment's copy of the project."""
    return home() != Path.cwd().resolve()


def stage(name: str) -> Stage:
    """The stage called `name`."""
    return stages()[name]


def stages() -> dict[str, Stage]:
    """Every stage, in the order of `dvc.yaml`."""
    if not GRAPH.is_file():
        raise Refusal(f"{GRAPH}: is not here; start stages in the project's root, as `dvc repro` does")
    return _stages(GRAPH.read_text(encoding="utf-8"))


def before(name: str) -> tuple[str, ...]:
    """The stages whose data reaches stage `name`, in the order of `dvc.yaml`; not `design`, which makes no data."""
    known = stages()
    makers = {item.output: item.name for item in known.values() if item.name != "design"}
    direct = {makers[path] for path in known[name].inputs.values() if path in makers}
    found = direct.union(*(before(earlier) for earlier in direct))
    return tuple(earlier for earlier in known if earlier in found)


def reads_design(name: str) -> bool:
    """Whether what stage `name` computes depends on the declared model."""
    return any(DECLARATION in stage(one).inputs.values() for one in (name, *before(name)))


@lru_cache(maxsize=4)
def _stages(text: str) -> dict[str, Stage]:
    graph = document.parse(text, name=str(GRAPH)).data["stages"]
    return {name: _stage(name, entry) for name, entry in graph.items()}


def _stage(name: str, entry: dict[str, Any]) -> Stage:
    first = _paths(entry, "outs")[0]
    plan = DESIGN / f"{name}.json"
    return Stage(
        name=name,
        description=entry.get("desc", ""),
        output=first.parent if first.suffix else first,
        metrics=_paths(entry, "metrics")[0],
        curve=next(iter(_paths(entry, "plots")), None),
        inputs={path.stem: path for path in _paths(entry, "deps") if path != plan},
        plan=plan,
    )


def _paths(entry: dict[str, Any], key: str) -> list[Path]:
    """The paths that a stage lists under `key`, with or without options of their own."""
    return [Path(next(iter(item)) if isinstance(item, dict) else item) for item in entry.get(key, [])]
