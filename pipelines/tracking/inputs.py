"""What a run read: data with its hashes, and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipelines.tracking import limits
from pipelines.tracking.notes import Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel


def tell(client: MlflowClient, run_id: str, data: Iterable[Record], models: Iterable[LoggedModel]) -> None:
    """Have the run say that it read `data`, and the checkpoints among that as `models`; what it says already stays."""
    from mlflow.entities import LoggedModelInput

    client.log_inputs(run_id, [_dataset(item) for item in data], [LoggedModelInput(model.model_id) for model in models])


def _dataset(item: Record) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": item["name"]})
    dataset = Dataset(item["name"], item["digest"][: limits.DIGEST_LETTERS], source_type="local", source=source)
    tags = {"mlflow.data.context": item["context"], "dvc.md5": item.get("dvc", "")}
    return DatasetInput(dataset, tags=[InputTag(key, value) for key, value in tags.items() if value])
