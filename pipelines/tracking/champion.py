"""The best candidate of the experiment as a model in MLflow's registry, which is called as the experiment is, so that
projects which are kept apart have one each: `models:/lmmodel@champion`, text in, text out.

Weights stay in DVC: a version holds no copy but the hash under which DVC's cache has the checkpoint, and a few lines of
code that load it from there (`served`). So a version takes kilobytes, and is whole for as long as the cache is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lmmodel import folder
from lmmodel.learning import checkpoint
from pipelines import paths, record, standing
from pipelines.tracking import limits, location, registry
from pipelines.tracking.opening import CANDIDATE, STAGE
from pipelines.tracking.store import Store

ALIAS = "champion"
METRIC = "validation_bits_per_byte"
HELD_OUT = "lmmodel.held_out"
"""The tag that tells the held-out text by which a version was measured."""


def crown() -> str | None:
    """Register what stands in the project when it is better than the champion; the new version, or None.

    Bits per byte are those of one text: whatever turns it into tokens, and never of another. So a champion that was
    measured by other held-out text than lies here now is succeeded without a comparison: nobody knows how it would do,
    while this one was made for the data that the project has. Raises what MLflow raises.
    """
    stage = _furthest()
    if stage is None:
        return None
    # All that stands in the project is read before MLflow is asked, which may take longer than what stands there lasts.
    bits_per_byte = json.loads(paths.stage(CANDIDATE).metrics.read_text(encoding="utf-8"))[METRIC]
    identity, oid, held_out = record.read(stage).identity, _oid(stage), _held_out()
    store, name = Store(), limits.model_name(location.experiment())
    known = registry.champion(store.client, name, ALIAS) or {}
    if known.get(HELD_OUT) == held_out and bits_per_byte >= float(known[METRIC]):
        return None
    entry = registry.Entry(
        name=name,
        code=Path(__file__).with_name("served.py"),
        config={"project": str(paths.home()), "oid": oid},
        tags={METRIC: repr(bits_per_byte), HELD_OUT: held_out, STAGE: stage.name, "dvc.md5": oid},
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


def _held_out() -> str:
    """The digest of the documents that no training sees."""
    return str(folder.facts(paths.stage("corpus").output)["files"]["validation.parquet"]["sha256"])


def _oid(stage: paths.Stage) -> str:
    outs: list[dict[str, Any]] = standing.lock()[stage.name]["outs"]
    return next(str(item["md5"]) for item in outs if item["path"] == str(stage.output))
