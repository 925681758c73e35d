"""The table of candidates, best first, as a view that MLflow's page opens by its name."""

from __future__ import annotations

import json

from pipelines.tracking.opening import CANDIDATE, STAGE

VIEW = "leaderboard"
_NAME = "attributes.`Run Name`"
_NAME_PIXELS = 330  # of `multi_head rotary gated, 6 x 256, seed 1`
_LETTER_PIXELS = 7  # MLflow cuts a heading at its end, which is where these differ


def tags() -> dict[str, str]:
    """How MLflow's page shows the experiment: as trainings, and the candidates in a view that it opens by its name."""
    from lmmodel.inference.report import HEADS

    judged = [f"evaluate/{model}.{task}.{metric}" for task, metric in HEADS for model in ("pretrain", "finetune")]
    metrics = ("validation_bits_per_byte", *judged, "parameters", "flops", "tokens_per_second")
    columns = [*(f"metrics.`{name}`" for name in metrics), "params.`seed`"]
    view = {
        "selectedColumns": columns,
        "columnOrder": [_NAME, *columns],
        "columnWidths": {_NAME: _NAME_PIXELS} | {name: _LETTER_PIXELS * len(name) for name in columns},
        "searchFilter": f"tags.`{STAGE}` = '{CANDIDATE}'",
        "orderByKey": "metrics.`validation_bits_per_byte`",
        "orderByAsc": True,
    }
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.experiment.primaryMetric.name": "validation_bits_per_byte",
        "mlflow.experiment.primaryMetric.greaterIsBetter": "False",
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
    }
