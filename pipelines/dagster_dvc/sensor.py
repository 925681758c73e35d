"""What was run in a terminal, told to Dagster: a sensor on dvc.lock.

Stages that ran (or were restored, or reverted) outside Dagster are reported as materializations without a run, with
the versions that dvc.lock holds. An observation would not do: Dagster takes no version from it for such an asset.
"""

import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import dagster as dg

from pipelines.dagster_dvc import assets, graph
from pipelines.dagster_dvc.catalogue import Catalogue
from pipelines.dagster_dvc.translator import Translator

SECONDS = 30
ELSEWHERE = "outside Dagster"


def watch(
    root: str | os.PathLike[str], translator: Translator | None = None, *, name: str = "dvc_lock"
) -> dg.SensorDefinition:
    """A sensor, on from the start, that reports what dvc.lock holds and Dagster has not heard of."""

    @dg.sensor(
        name=name,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports what dvc ran in a terminal.",
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if _busy(context.instance):
            return dg.SkipReason("A run is on its way; it reports for itself.")
        try:
            stages = graph.settled(root, patient=False).values()
        except graph.BusyError as busy:
            return dg.SkipReason(f"{busy}; the next look will tell.")
        catalogue = Catalogue(stages, translator or Translator())
        cursor = _digest(catalogue)
        if cursor == context.cursor:
            return dg.SkipReason("dvc.lock holds nothing new.")
        return dg.SensorResult(asset_events=list(unheard(Path(root), catalogue, context.instance)), cursor=cursor)

    return tick


def unheard(root: Path, catalogue: Catalogue, instance: dg.DagsterInstance) -> Iterator[dg.AssetMaterialization]:
    """What dvc.lock holds that differs from what `instance` last recorded."""
    for stage in catalogue.stages.values():
        if stage.recorded is None:
            continue
        for result in assets.results(root, catalogue, stage, outcome=ELSEWHERE):
            assert result.asset_key
            tags = dict(result.tags or {})
            event = instance.get_latest_materialization_event(result.asset_key)
            known = event.asset_materialization.tags if event and event.asset_materialization else None
            if known is None or not tags.items() <= known.items():
                yield dg.AssetMaterialization(result.asset_key, metadata=result.metadata, tags=tags)


def _busy(instance: dg.DagsterInstance) -> bool:
    under_way = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
    return instance.get_runs_count(dg.RunsFilter(statuses=under_way)) > 0


def _digest(catalogue: Catalogue) -> str:
    tags = [
        assets.versions(catalogue, stage, output)
        for stage in catalogue.stages.values()
        for output in catalogue.assets(stage)
    ]
    return sha256(json.dumps(tags, sort_keys=True).encode()).hexdigest()
