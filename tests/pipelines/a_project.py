"""A small project whose stages have all run, as far as files can tell: real plans, sealed folders, a real dvc.lock."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import chdir
from pathlib import Path
from typing import Any

from lmmodel import folder
from pipelines import parameters, paths, record
from pipelines.work import Job

ROOT = Path(__file__).resolve().parents[2]

METRICS: dict[str, dict[str, Any]] = {
    "corpus": {"train": {"documents": 950}, "validation": {"documents": 50}},
    "tokenizer": {"bytes_per_token": 3.5, "round_trip_failures": 0},
    "shards": {"train": {"tokens": 625_000}, "validation": {"tokens": 31_000}},
    "dialogues": {"train": {"dialogues": 3911}, "validation": {"dialogues": 400}},
    "pretrain": {"validation_bits_per_byte": 1.914, "parameters": 5_771_264},
    "finetune": {"validation_loss_nats": 1.2},
    "evaluate": {"models": {"pretrained": {"dialogues_choice": {"score": 0.315, "interval": 0.046}}}},
}
CURVE = (
    "step,tokens,training_loss_nats,validation_bits_per_byte\n10,81920,4.1,\n20,163840,3.2,2.4\n30,245760,2.9,1.914\n"
)


def build(root: Path) -> None:
    """A project in `root`, everything in it up to date."""
    root.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copy(ROOT / "dvc.yaml", root)
    for code in ("lmmodel", "pipelines", "experiments", "data/raw/documents", "data/raw/dialogues"):
        (root / code).mkdir(parents=True)
        (root / code / ".gitkeep").touch()
    with chdir(root):
        plan()
        for name, stage in paths.stages().items():
            if name != "design":
                result(stage, METRICS[name])
        folder_of_design = paths.DESIGN.with_suffix(".json")
        folder_of_design.write_text("{}\n")
        dvc("init", "--no-scm", "--quiet")
        dvc("commit", "--force", "--quiet")


def plan() -> None:
    """What the design stage writes for the others, from the params.yaml that lies here."""
    given = parameters.read()
    paths.DESIGN.mkdir(parents=True, exist_ok=True)
    paths.DECLARATION.write_bytes(given.declaration.canonical())
    for name in parameters.SECTIONS:
        (paths.DESIGN / f"{name}.json").write_text(folder.canonical(record.plans(given)[name]))


def result(stage: paths.Stage, metrics: dict[str, Any]) -> None:
    """What stage leaves behind."""
    stage.output.mkdir(parents=True, exist_ok=True)
    (stage.output / "result.txt").write_text(f"the result of {stage.name}: {json.dumps(metrics)}\n")
    folder.seal(stage.output, {})
    stage.metrics.write_text(folder.canonical(metrics))
    if stage.curve:
        stage.curve.write_text(CURVE)


def dvc(*words: str) -> None:
    """The dvc command, here."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    subprocess.run(["dvc", *words], check=True, env=environment, timeout=120)


def job(name: str, *, scratch: Path | None = None) -> Job[Any]:
    """The job that stage `name` would be given here, now."""
    stage, given = paths.stage(name), parameters.read()
    before = record.read(stage)
    scratch = scratch or Path(".lmmodel/work") / name / before.identity
    (scratch / "output").mkdir(parents=True, exist_ok=True)
    return Job(
        stage=name,
        section=given.sections[name],
        seed=given.seed,
        launch=given.launch,
        output=scratch / "output",
        scratch=scratch,
        curve=scratch / "curve.csv",
        inputs=stage.inputs,
        identity=before.identity,
    )
