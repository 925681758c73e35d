"""What Dagster makes of a toy: a run of some assets, and what it then calls unsynced."""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from pipelines.dagster_dvc import assets
from tests.dagster_dvc.toy import Toy


def materialize(toy: Toy, instance: dg.DagsterInstance, *keys: str, raises: bool = True) -> dg.ExecuteInProcessResult:
    """The assets at `keys` (all without any), as the definitions are when they are loaded now."""
    chosen = [dg.AssetKey.from_user_string(key) for key in keys]
    selection = dg.AssetSelection.assets(*chosen) if chosen else None
    return dg.materialize(assets.load(toy.root), instance=instance, selection=selection, raise_on_error=raises)


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {
        event.materialization.asset_key.to_user_string(): str(event.materialization.metadata["outcome"].value)
        for event in result.get_asset_materialization_events()
    }


def unsynced(toy: Toy, instance: dg.DagsterInstance) -> set[str]:
    """The assets that the UI would show as stale or missing, after a reload of the definitions."""
    repository = dg.Definitions(assets=assets.load(toy.root)).get_repository_def()
    resolver = CachingStaleStatusResolver(instance, repository.asset_graph, LoadingContextForTest(instance))
    every = repository.asset_graph.get_all_asset_keys()
    return {key.to_user_string() for key in every if resolver.get_status(key) != StaleStatus.FRESH}
