"""This project in Dagster: eight assets and their checks. ``dagster dev`` finds it.

Everything but the checks follows from ``dvc.yaml``. One stage runs at a time in a run: all of them use every core, and
a process of its own for each would cost 3 s. The job `everything` runs branches side by side all the same, and
LMMODEL_EXECUTOR names another executor (docs/scale.md).
"""

from __future__ import annotations

import json
import math
import os
import sys
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg

from lmmodel import folder
from lmmodel.params.refusal import Refusal
from pipelines import design, parameters, paths, tracking
from pipelines.dagster_dvc import assets, live, places, sensor, variant
from pipelines.dagster_dvc.archive import oid_of
from pipelines.dagster_dvc.checks import Finding, check
from pipelines.dagster_dvc.graph import Output, Stage
from pipelines.dagster_dvc.translator import Translator

ROUND_TRIPS = 500


class Plans(Translator):
    """Knows what design will write without running it, so that a change shows at once on the stage that it touches."""

    def group(self, stage: Stage, output: Output) -> str:
        """One for all: Dagster folds several up, and a person should see eight assets."""
        return "pipeline"

    def foreseen(self, path: str) -> str | None:
        """The md5 of a plan as params.yaml and the code have it now; None while they cannot be read."""
        content = self._written.get(path)
        return None if content is None else oid_of(content)

    def look(self, root: Path, stage: Stage) -> live.Look:
        """What the stage notes for MLflow is shown here as well: its own files appear when it is done."""
        return tracking.Onlooker(stage.name)

    def links(self, stage: Stage) -> dict[str, str]:
        """The run in MLflow, as soon as it is there."""
        try:
            address = tracking.address(stage.name)
        except Exception as error:  # whatever MLflow raises where its server is away
            print(f"MLflow does not say where the run is: {error}", file=sys.stderr)
            return {}
        return {"mlflow": address} if address else {}

    def sources(self, root: Path, stage: Stage) -> list[places.Place]:
        """The stage in dvc.yaml and its section in params.yaml, which design resolves for it."""
        section = "model" if stage.name == "design" else stage.name
        return [*places.of(root, stage)[:1], *places.lines(root / parameters.PARAMS, [section])]

    @cached_property
    def _written(self) -> dict[str, bytes]:
        try:
            return design.written(parameters.read())
        except Refusal:
            return {}


def no_group_on_both_sides() -> Finding:
    """No group is in train and in validation, be it of documents or of dialogues: what is judged was never seen."""
    train, validation = _groups("train"), _groups("validation")
    both = sorted(train & validation)
    return Finding(
        [f"{group} is in train and in validation" for group in both],
        {"train_groups": len(train), "validation_groups": len(validation)},
    )


def text_survives_the_round_trip() -> Finding:
    """Held-out documents, encoded and decoded, are what they were, letter by letter."""
    from lmmodel.text import documents
    from lmmodel.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(paths.stage("tokenizer").output)
    some = list(islice(documents.read(paths.stage("corpus").output, "validation"), ROUND_TRIPS))
    lost = [item.id for item in some if tokenizer.decode(tokenizer.encode(item.text)) != item.text]
    return Finding([f"{name} does not come back as it was" for name in lost], {"documents": len(some)})


def checksums_match() -> Finding:
    """Every shard holds the bytes that its index says."""
    try:
        index = folder.verify(paths.stage("shards").output)
    except Refusal as refusal:
        return Finding([str(refusal)])
    return Finding([], {"files": len(index["files"]), "bytes": sum(file["bytes"] for file in index["files"].values())})


def pretraining_learnt() -> Finding:
    """The loss on held-out text is a number, and lower than guessing every token alike gives: ln(vocabulary)."""
    return _learnt("pretrain")


def finetuning_learnt() -> Finding:
    """The loss on held-out answers is a number, and lower than guessing every token alike gives: ln(vocabulary)."""
    return _learnt("finetune")


def every_task_is_scored() -> Finding:
    """Each model has a number for each task that params.yaml names."""
    stage = paths.stage("evaluate")
    tasks, scores = _read(stage.plan)["section"]["tasks"], _read(stage.metrics)
    skipped = "skipped" in _read(paths.stage("finetune").metrics)
    wanted = [f"{model}.{task}" for model in ("pretrain", "finetune")[: 1 if skipped else 2] for task in tasks]
    scored = {key for key, score in scores.items() if isinstance(score, int | float) and math.isfinite(score)}
    missing = [name for name in wanted if not any(key.startswith(name) for key in scored)]
    return Finding([f"{name} has no score" for name in missing], {"tasks": len(tasks), "scores": len(wanted)})


def _groups(side: str) -> set[str]:
    """Of documents and dialogues; of those alone that are there, while the others were never made."""
    from pyarrow import parquet

    files = (paths.stage(name).output / f"{side}.parquet" for name in ("corpus", "dialogues"))
    columns = (parquet.read_table(file, columns=["group"]).column("group") for file in files if file.is_file())
    return {group for column in columns for group in column.to_pylist()}


def _learnt(stage: str) -> Finding:
    metrics = _read(paths.stage(stage).metrics)
    if "skipped" in metrics:
        return Finding(figures=metrics)
    loss_nats, guessing_nats = metrics["validation_loss_nats"], math.log(_read(paths.DECLARATION)["vocab_size"])
    wrong = [] if loss_nats < guessing_nats else [f"{loss_nats:.3f} nats are not below {guessing_nats:.3f}"]
    return Finding(wrong, {"validation_loss_nats": loss_nats, "guessing_nats": guessing_nats})


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


TRANSLATOR = Plans()

defs = dg.Definitions(
    assets=assets.load(Path(), TRANSLATOR),
    asset_checks=[
        check("corpus", no_group_on_both_sides, blocking=True),
        check("tokenizer", text_survives_the_round_trip, blocking=True),
        check("shards", checksums_match, blocking=True),
        check("dialogues", no_group_on_both_sides, blocking=True),
        check("pretrain", pretraining_learnt),
        check("finetune", finetuning_learnt),
        check("evaluate", every_task_is_scored),
    ],
    sensors=[
        sensor.watch(Path(), TRANSLATOR),
        sensor.arrivals(Path(), "data/raw", TRANSLATOR, name="new_text"),
    ],
    schedules=[dg.ScheduleDefinition(name="every_night", cron_schedule="0 3 * * *", target=dg.AssetSelection.all())],
    jobs=[assets.in_parallel(), variant.job(Path(), TRANSLATOR)],
    executor=assets.executor(os.environ.get("LMMODEL_EXECUTOR")),
)
