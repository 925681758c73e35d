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
from lmmodel.architecture import count
from lmmodel.inference import evaluation, report
from pipelines import parameters, paths, record
from pipelines.work import Job

ROOT = Path(__file__).resolve().parents[2]

METRICS: dict[str, dict[str, Any]] = {
    "corpus": {"train": {"documents": 950}, "validation": {"documents": 50}},
    "tokenizer": {"bytes_per_token": 3.5, "round_trip_failures": 0},
    "shards": {"train": {"tokens": 625_000}, "validation": {"tokens": 31_000}},
    "dialogues": {"train": {"dialogues": 3911}, "validation": {"dialogues": 400}},
    "pretrain": {
        "validation_bits_per_byte": 1.914,
        "parameters": 5_771_264,
        "tokens": 2_498_560,
        "epochs": 3.9977,
        "flops": 9.82e13,
    },
    "finetune": {"validation_loss_nats": 1.2, "epochs": 2.0},
    "evaluate": {"finetune.dialogues_choice.acc": 0.582, "finetune.dialogues_choice.acc_interval": 0.048},
}
CURVE = """step,tokens,loss_nats,validation_bits_per_byte
10,81920,4.1,
20,163840,3.2,2.4
30,245760,2.9,1.914
"""
PLATFORM = {"device": "cpu", "threads": 2, "precision": "bfloat16", "torch": "2.13.0"}


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
        counts = count.measure(parameters.read().declaration).dump()
        paths.stage("design").metrics.write_text(folder.canonical(counts))
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
    if stage.name in ("pretrain", "finetune"):
        shutil.copy(paths.DECLARATION, stage.output)
        (stage.output / "checkpoint.json").write_text(folder.canonical({"format": 1, "step": 30, "platform": PLATFORM}))
    if stage.name == "evaluate":
        (stage.output / evaluation.SUMMARY).write_text(summary().model_dump_json())
        (stage.output / evaluation.TABLE).write_text(report.markdown(summary()))
        (stage.output / evaluation.SAMPLES).write_text(report.samples(summary()))
    folder.seal(stage.output, {})
    stage.metrics.write_text(folder.canonical(metrics))
    if stage.curve:
        stage.curve.write_text(CURVE)


def summary() -> report.Summary:
    """What an evaluation found, in short."""
    per_byte, choice = (".".join(place) for place in list(report.HEADS)[:2])
    told: dict[str, dict[str, tuple[float, float | None]]] = {
        "finetune": {per_byte: (1.971, 0.05), choice: (0.582, 0.048)},
        "pretrain": {per_byte: (1.914, 0.05), choice: (0.315, 0.046)},
        "chance": {per_byte: (8.0, None), choice: (0.25, None)},
        "lzma_alone": {per_byte: (2.07, None)},
    }
    asked = report.Asked(
        question="What does shutil.disk_usage(path) do?",
        answers=(
            report.Said(who="pretrained", text="Return the path"),
            report.Said(who="fine-tuned", text="Return disk usage statistics."),
            report.Said(who="true", text="Return disk usage statistics about the given path."),
        ),
    )
    return report.Summary(
        columns=tuple(column(*key.split("."), less_is_better=key == per_byte) for key in (per_byte, choice)),
        rows=tuple(row(name, scores) for name, scores in told.items()),
        examples={"dialogues_choice": 400},
        notes=(),
        continued=(),
        asked=(asked,),
    )


def column(task: str, metric: str, *, less_is_better: bool) -> report.Column:
    title, about = report.HEADS[task, metric]
    return report.Column(task=task, metric=metric, title=title, about=about, less_is_better=less_is_better, head=True)


def row(name: str, scores: dict[str, tuple[float, float | None]]) -> report.Row:
    shown = {key: report.Score(value=value, interval=half) for key, (value, half) in scores.items()}
    return report.Row(name=name, title=report.TITLES[name], scores=shown)


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
