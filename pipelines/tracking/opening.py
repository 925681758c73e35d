"""What a run says of itself at its start: whose it is, what it was told, from which data and code, on what machine."""

from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmmodel.learning import checkpoint
from lmmodel.params.refusal import Refusal
from pipelines import paths, record, standing

if TYPE_CHECKING:
    from pipelines.work import Job

CANDIDATE = "pretrain"
"""The stage whose works are the candidates; the others' runs are nested below theirs."""

STAGE = "lmmodel.stage"
"""The tag that a run has once it says what it is: a candidate may be bare, made for what is nested below it."""

MADE_OF = {
    "pretrain": ("corpus", "tokenizer", "shards", "pretrain"),
    "finetune": ("dialogues", "finetune"),
    "evaluate": ("evaluate",),
}
"""The stages that have a run, and the sections that decide each. A run holds only what made it: under one candidate
there may be several fine-tunings, and a candidate that listed the sections of one would be wrong about the others."""


def opening(job: Job[Any], extra: dict[str, Any]) -> dict[str, Any]:
    """The first record of a run: plain data, complete, taken before the work begins."""
    tags = {**_commit(), **_machine()}
    return describe(paths.stage(job.stage), identity=job.identity, tags=tags, extra=extra)


def describe(
    stage: paths.Stage, *, identity: str, tags: dict[str, Any] | None = None, extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The opening record of the work of `stage` whose plan and data stand in the project."""
    told: dict[str, Any] = {name: _section(paths.stage(name)) for name in MADE_OF[stage.name]}
    told["seed"] = told[stage.name].pop("seed", 0)
    name = stage.name
    model = json.loads(paths.DECLARATION.read_text(encoding="utf-8"))
    if stage.name == CANDIDATE:
        told["model"] = model
        name = _name(model, told["seed"])
    always = {"mlflow.source.name": f"python -m pipelines.{stage.name}", "mlflow.source.type": "LOCAL"}
    return {
        "stage": stage.name,
        "identity": identity,
        "candidate": None if stage.name == CANDIDATE else candidate(),
        "name": name,
        "parameters": flat({**told, **(extra or {})}),
        "tags": {key: str(value) for key, value in {**always, **(tags or {})}.items()},
        "data": _data(stage),
        "design": _design(model),
    }


def candidate() -> str:
    """The identity of the pretraining that stands in the project.

    It is computed from what that work was made of, as the work itself did, rather than read from what it wrote: so it
    is the same when DVC brought the weights back from its cache or from a remote, and no code of ours ran.
    """
    return record.read(paths.stage(CANDIDATE)).identity


def _design(declaration: dict[str, Any]) -> dict[str, Any]:
    """What a drawing of the model takes: its counts are those of the design stage. Nothing where they are gone."""
    try:
        counts = json.loads(paths.stage("design").metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {"declaration": declaration, "counts": counts} if counts.get("parts") else {}


def flat(data: dict[str, Any]) -> dict[str, str]:
    """Nested data as dotted keys and texts. What all layers share stands once; what differs, in the layers' order."""
    result: dict[str, str] = {}
    for key, value in data.items():
        if value is None:
            continue  # not told; a table of differences is easier to read without
        if isinstance(value, dict) and value:
            result |= {f"{key}.{inner}": text for inner, text in flat(value).items()}
        elif key == "layers" and isinstance(value, list):
            result |= {f"{key}.{inner}": text for inner, text in _layers([flat(layer) for layer in value]).items()}
        else:
            result[key] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return result


def _layers(layers: list[dict[str, str]]) -> dict[str, str]:
    keys = dict.fromkeys(key for layer in layers for key in layer)
    return {key: _runs([layer.get(key, "-") for layer in layers]) for key in keys}


def _runs(values: list[str]) -> str:
    """`64 x5, null, 64 x5, null`; one value that all share stands alone."""
    runs = [(value, len(list(group))) for value, group in groupby(values)]
    if len(runs) == 1:
        return values[0]
    return ", ".join(value if count == 1 else f"{value} x{count}" for value, count in runs)


def _section(stage: paths.Stage) -> dict[str, Any]:
    """What design resolved for `stage`."""
    section: dict[str, Any] = json.loads(stage.plan.read_text(encoding="utf-8"))["section"]
    return section


def _name(model: dict[str, Any], seed: Any) -> str:
    """What a person recognises a candidate by: `multi_head rotary gated, 6 x 256, seed 1`."""
    kinds = [_kinds(model.get("layers", []), part) for part in ("attention", "position", "feed_forward")]
    return f"{' '.join(kinds)}, {model.get('depth', '?')} x {model.get('width', '?')}, seed {seed}"


def _kinds(layers: list[dict[str, Any]], part: str) -> str:
    kinds = dict.fromkeys(Path(layer[part]["kind"]).stem for layer in layers if isinstance(layer.get(part), dict))
    return "+".join(kinds) or "-"


def _data(stage: paths.Stage) -> list[dict[str, Any]]:
    """What the stage read, by path, digest and DVC's hash, and whose it is where it is a checkpoint; not the
    declaration, which is in the parameters."""
    found = record.read(stage).inputs
    context = "evaluation" if stage.name == "evaluate" else "training"
    known, trained = hashes(), _checkpoints(stage)
    return [
        {"name": path, "digest": digest, "context": context, "dvc": known.get(path, ""), **trained.get(path, {})}
        for path, digest in found.items()
        if not path.startswith(f"{paths.DESIGN}")
    ]


def _checkpoints(stage: paths.Stage) -> dict[str, dict[str, Any]]:
    """The checkpoints that the stage reads by their path, each with the stage and the identity of its training.

    Of no others: while a stage runs, what it and those after it made before may be gone.
    """
    made = [one for name in MADE_OF if (one := paths.stage(name)).output in stage.inputs.values()]
    here = [one for one in made if checkpoint.is_in(one.output)]
    return {str(one.output): {"checkpoint": {"stage": one.name, "identity": record.read(one).identity}} for one in here}


def hashes() -> dict[str, str]:
    """Path -> the hash that dvc.lock gives it; nothing while another dvc is writing there."""
    try:
        outs = [item for entry in standing.lock().values() for item in entry.get("outs", [])]
    except Refusal:
        return {}
    return {item["path"]: str(item.get("md5", "")) for item in outs}


def _machine() -> dict[str, Any]:
    tags = {
        "platform.system": platform.system(),
        "platform.processor": platform.machine(),
        "platform.cores": os.cpu_count(),
        "platform.python": platform.python_version(),
    }
    with suppress(PackageNotFoundError):
        tags["platform.torch"] = version("torch")
    with suppress(KeyError, OSError):  # a container's user need not have a name
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _commit() -> dict[str, str]:
    """The git commit, and whether the files were as committed. Set by hand: MLflow looks only beside a script."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    branch = _git("rev-parse", "--abbrev-ref", "HEAD")
    dirty = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": branch or "",
        "mlflow.source.git.dirty": str(bool(dirty)),
    }


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
