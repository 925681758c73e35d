"""MLflow's registry of models: a version for each champion, and the alias that names the last."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.tracking import checkpoints

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


@dataclass(frozen=True)
class Entry:
    """A model to register. code: the script that makes it. config: what that is told. model: what is there so far."""

    name: str
    code: Path
    config: dict[str, str]
    tags: dict[str, str]
    model: LoggedModel


def champion(client: MlflowClient, name: str, alias: str) -> dict[str, str] | None:
    """The tags of the version that `alias` names; None where there is none yet. Raises what else MLflow raises.

    Asked in two steps: of an alias that is not there MLflow says the same as of a name that it would never take.
    """
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_registered_model(name).aliases.get(alias)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return dict(client.get_model_version(name, str(version)).tags) if version else None


def register(client: MlflowClient, entry: Entry, alias: str) -> str:
    """A version of `entry`, named by `alias`; its number. What was there by reference can be loaded from then on."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(entry.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model = entry.model
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder) / "model", entry)
        client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
    checkpoints.tag(client, model, entry.tags)
    if checkpoints.EXTERNAL in model.tags:
        client.delete_logged_model_tag(model.model_id, checkpoints.EXTERNAL)
    source, run = f"models:/{model.model_id}", model.source_run_id
    made = client.create_model_version(entry.name, source=source, run_id=run, tags=entry.tags, model_id=model.model_id)
    versions = [{"name": entry.name, "version": str(made.version)}]
    checkpoints.tag(client, model, {checkpoints.VERSIONS: json.dumps(versions)})  # a server sets it by itself
    client.set_registered_model_alias(entry.name, alias, made.version)
    return str(made.version)


def _write(folder: Path, entry: Entry) -> None:
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    text = Schema([ColSpec(DataType.string)])
    told = [ParamSpec("tokens", DataType.long, 64), ParamSpec("temperature", DataType.double, 0.8)]
    signature = ModelSignature(inputs=text, outputs=text, params=ParamSchema(told))
    pyfunc.save_model(
        str(folder),
        python_model=str(entry.code),
        model_config=entry.config,
        signature=signature,
        pip_requirements=[],  # this project; MLflow would load the model to guess them
    )
