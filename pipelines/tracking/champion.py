"""The best candidate as a model in MLflow's registry: `models:/lmmodel@champion`, text in, text out.

Weights stay in DVC: a version holds no copy but the hash under which DVC's cache has the checkpoint, and a few lines of
code that load it from there (`served`). So a version takes kilobytes, and is whole for as long as the cache is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lmmodel.learning import checkpoint
from pipelines import paths, record, standing
from pipelines.tracking import registry
from pipelines.tracking.opening import CANDIDATE, STAGE
from pipelines.tracking.store import Store

NAME, ALIAS = "lmmodel", "champion"
METRIC = "validation_bits_per_byte"


def crown() -> str | None:
    """Register what stands in the project when it is better than the champion; the new version, or None.

    Raises what MLflow raises.
    """
    stage = _furthest()
    if stage is None:
        return None
    # All that stands in the project is read before MLflow is asked, which may take longer than what stands there lasts.
    bits_per_byte = json.loads(paths.stage(CANDIDATE).metrics.read_text(encoding="utf-8"))[METRIC]
    identity, oid = record.read(stage).identity, _oid(stage)
    store = Store()
    known = registry.champion(store.client, NAME, ALIAS)
    if known and bits_per_byte >= float(known[METRIC]):
        return None
    entry = registry.Entry(
        name=NAME,
        code=Path(__file__).with_name("served.py"),
        config={"project": str(paths.home()), "oid": oid},
        tags={METRIC: repr(bits_per_byte), STAGE: stage.name, "dvc.md5": oid},
        model=store.model(stage.name, identity, str(stage.output)),
    )
    return registry.register(store.client, entry, ALIAS)


def _furthest() -> paths.Stage | None:
    """The stage of the furthest trained checkpoint that stands in the project, as dvc.lock has it."""
    recorded = standing.lock()
    for name in ("finetune", CANDIDATE):
        stage = paths.stage(name)
        if checkpoint.is_in(stage.output) and standing.is_recorded(stage, recorded):
            return stage
    return None


def _oid(stage: paths.Stage) -> str:
    outs: list[dict[str, Any]] = standing.lock()[stage.name]["outs"]
    return next(str(item["md5"]) for item in outs if item["path"] == str(stage.output))
