"""Checkpoints as models of MLflow's experiment: by reference, and compared by what they came to.

A training's run puts out one such model, made once however often its work is resumed, repeated or rebuilt. It holds no
weights, which stay in DVC: its tags say in which folder, at which git commit and, from when another stage has read it,
under which hash DVC has it. What a later stage finds of a checkpoint has the same name whichever stage trained it, so
that MLflow's page of models sets the fine-tuned beside the pretrained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.tracking import limits

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

HEADLINE = ("validation_bits_per_byte", "validation_loss_nats", "parameters", "tokens", "epochs", "flops")
"""What a training says of its checkpoint, as far as its run has it."""

SECTION = "checkpoint"
"""Where a run shows what was found of the checkpoint that it put out."""

PATH, MD5 = "dvc.path", "dvc.md5"

EXTERNAL = "mlflow.model.isExternal"
"""MLflow's own tag for a model whose files are kept elsewhere."""

VERSIONS = "mlflow.modelVersions"
"""The tag by which MLflow's page knows as what a model is registered."""

_OF_THE_RUN = ("lmmodel.", "mlflow.source.git.", "platform.")


def found_or_made(client: MlflowClient, run: Run, path: str) -> LoggedModel:
    """The model that `run` puts out. path: the folder that its checkpoint is written to."""
    experiment, run_id = run.info.experiment_id, run.info.run_id
    found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'", max_results=1)
    if found:
        model = found[0]
    else:
        name = limits.model_name(f"{Path(path).name} {run_id[:8]}")
        tags = {PATH: path, EXTERNAL: "true"}
        model = client.create_logged_model(experiment, name, source_run_id=run_id, tags=tags, model_type="checkpoint")
    return model if model.status == "READY" else client.finalize_logged_model(model.model_id, "READY")


def read(
    client: MlflowClient, data: Sequence[Mapping[str, Any]], run_of: Callable[[str, str], Run]
) -> dict[str, LoggedModel]:
    """The models among the data that a work read, by the stage that trained each. run_of: by stage and identity."""
    found = {}
    for item in data:
        if made := item.get("checkpoint"):
            model = found_or_made(client, run_of(made["stage"], made["identity"]), item["name"])
            tag(client, model, {MD5: item.get("dvc", "")})
            found[made["stage"]] = model
    return found


def tag(client: MlflowClient, model: LoggedModel, tags: Mapping[str, str]) -> None:
    """Those of `tags` that say something, and something new."""
    new = {key: value for key, value in tags.items() if value and model.tags.get(key) != value}
    if new:
        client.set_logged_model_tags(model.model_id, new)


def hand_in(client: MlflowClient, run: Run, model: LoggedModel) -> None:
    """Have `model` say what its run knows of it, and the run say that it put it out."""
    from mlflow.entities import LoggedModelOutput, Metric

    if told := {key: value for key, value in run.data.params.items() if key not in model.params}:
        client.log_model_params(model.model_id, told)
    tag(client, model, {key: value for key, value in run.data.tags.items() if key.startswith(_OF_THE_RUN)})
    last = [point for point in run.data.to_proto().metrics if point.key in HEADLINE]
    # The very points that the run has: MLflow takes them for the model alone, and the run's curves stay as they are.
    points = [Metric(one.key, one.value, one.timestamp, one.step, model_id=model.model_id) for one in last]
    client.log_batch(run.info.run_id, metrics=points)
    known = run.outputs.model_outputs if run.outputs else []
    if model.model_id not in {one.model_id for one in known}:
        step = max((one.step for one in last), default=0)
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step)])


def judge(client: MlflowClient, model: LoggedModel, scores: Mapping[str, float], time_ms: int) -> None:
    """What was found of `model` later: in itself, and in the run that put it out (MLflow takes no other)."""
    from mlflow.entities import Metric

    known = {point.key: point.value for point in model.metrics or ()}
    told = {limits.key(f"{SECTION}/{key}"): value for key, value in scores.items()}
    new = {key: value for key, value in told.items() if known.get(key) != value}
    points = [Metric(key, value, time_ms, 0, model_id=model.model_id) for key, value in new.items()]
    for batch in limits.batches(points, limits.METRICS_AT_ONCE):
        client.log_batch(str(model.source_run_id), metrics=batch)
