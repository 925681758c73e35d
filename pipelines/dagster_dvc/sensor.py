"""What happened in a terminal, told to Dagster: a sensor on dvc.lock, dvc.yaml, parameters, code and outputs.

Stages that ran (or were restored, or reverted) outside Dagster are reported as materializations without a run, with
the versions that dvc.lock holds. An observation would not do: Dagster takes no version from it for such an asset.

What was edited changes code versions, which Dagster reads off the definitions and nowhere else: then the code server is
asked to load them again, as the button of the UI does, and webserver and daemon follow it within a second.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import dagster as dg
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin

from pipelines.dagster_dvc import assets, graph, lockfile, places, report
from pipelines.dagster_dvc.catalogue import Catalogue
from pipelines.dagster_dvc.graph import Project, Stage
from pipelines.dagster_dvc.translator import Translator

SECONDS = 10
ELSEWHERE = "outside Dagster"
_FAREWELL_SECONDS = 1.0  # the tick that asks for it runs in the server that is replaced: its answer goes first
_PATIENCE_SECONDS = 120


def watch(
    root: str | os.PathLike[str], translator: Translator | None = None, *, name: str = "dvc_status"
) -> dg.SensorDefinition:
    """A sensor, on from the start, by which Dagster calls unsynced what ``dvc status`` calls changed."""
    known = translator or Translator()

    @dg.sensor(
        name=name,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Keeps in step with what is run and edited in a terminal.",
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            with graph.legible(root, patient=False) as project:
                catalogue = Catalogue(project.stages, known)
                moved = _moved(context, catalogue, project)
        except graph.BusyError as busy:
            return dg.SkipReason(f"{busy}; the next look will tell.")
        except graph.UnreadableError as error:
            return dg.SkipReason(f"dvc cannot read the project: {error}")
        told = _renew(context, moved) if moved else "Nothing new."
        if _busy(context.instance):
            return dg.SkipReason(f"{told} A run is on its way; it reports for itself.")
        cursor = _digest(catalogue)
        if cursor == context.cursor:
            return dg.SkipReason(told)
        return dg.SensorResult(asset_events=list(unheard(Path(root), catalogue, context.instance)), cursor=cursor)

    return tick


def _moved(context: dg.SensorEvaluationContext, catalogue: Catalogue, project: Project) -> list[str]:
    """The assets that are other than Dagster was told when the definitions were loaded; those that are new or gone.

    Or whose lines moved: the links to them lead elsewhere.
    """
    if context.repository_def is None:
        return []
    nodes = [node for node in context.repository_def.asset_graph.asset_nodes if report.STAGE in node.metadata]
    loaded = {node.key: (node.code_version, node.metadata.get(places.REFERENCES)) for node in nodes}
    now = {
        catalogue.keys[output.path]: (catalogue.code_version(stage, project), _lines(catalogue, stage, project))
        for stage in catalogue.stages.values()
        for output in catalogue.assets(stage)
    }
    return sorted(key.to_user_string() for key in loaded.keys() | now.keys() if loaded.get(key) != now.get(key))


def _lines(catalogue: Catalogue, stage: Stage, project: Project) -> object:
    return places.references(catalogue.translator.sources(project.root, stage)).get(places.REFERENCES)


def _renew(context: dg.SensorEvaluationContext, moved: list[str]) -> str:
    """Have the definitions loaded again, a moment from now; what there is to say about it."""
    names = ", ".join(moved)
    if wrong := _unreadable():
        return f"Changed: {names}; but {wrong}, so the definitions stay as they were."
    origin = context.code_location_origin
    if not isinstance(origin, GrpcServerCodeLocationOrigin):
        return f"Changed: {names}; reload the definitions."

    def ask() -> None:
        time.sleep(_FAREWELL_SECONDS)
        origin.create_client().reload_code(timeout=_PATIENCE_SECONDS)

    threading.Thread(target=ask, daemon=True).start()
    return f"Changed: {names}; the definitions are being loaded again."


def _unreadable() -> str:
    """Which module of this process is no longer Python: definitions that fail to load have no sensor to mend them."""
    for module in list(sys.modules.values()):
        file = Path(getattr(module, "__file__", None) or "")
        if file.suffix == ".py" and file.is_relative_to(Path.cwd()):
            try:
                compile(file.read_bytes(), str(file), "exec")
            except (SyntaxError, ValueError) as error:
                return f"{file} cannot be read: {error}"
            except OSError:
                continue
    return ""


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


def arrivals(
    root: str | os.PathLike[str], folder: str, translator: Translator | None = None, *, name: str = "arrivals"
) -> dg.SensorDefinition:
    """A sensor, off until somebody switches it on: what is new in `folder` is taken in, and all that follows made."""

    @dg.sensor(
        name=name,
        target=dg.AssetSelection.all(),
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Materializes what became stale by new files in {folder}.",
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if _busy(context.instance):
            return dg.SkipReason("A run is on its way; the next look will tell.")
        try:
            with graph.legible(root, patient=False) as project:
                catalogue = Catalogue(project.stages, translator or Translator())
                read = {
                    name: {path: project.found(path) for path in stage.inputs if graph.overlaps(path, folder)}
                    for name, stage in catalogue.stages.items()
                }
        except (graph.BusyError, graph.UnreadableError) as error:
            return dg.SkipReason(str(error))
        new = [name for name, found in read.items() if found != _recorded(catalogue.stages[name], found)]
        if not new:
            return dg.SkipReason(f"Nothing new in {folder}.")
        keys = [catalogue.keys[output.path] for stage in catalogue.after(new) for output in catalogue.assets(stage)]
        found = json.dumps([read, _recorded_ns(Path(root), catalogue)], sort_keys=True)
        return dg.RunRequest(run_key=sha256(found.encode()).hexdigest(), asset_selection=keys)

    return tick


def _recorded_ns(root: Path, catalogue: Catalogue) -> list[int]:
    """When dvc wrote each dvc.lock, 0 where there is none: what comes, goes and comes again is new each time, while
    Dagster starts no second run with a key that it has seen. What a run failed at, and left as it was, stays the same.
    """
    places = sorted({root / stage.folder / lockfile.NAME for stage in catalogue.stages.values()})
    return [place.stat().st_mtime_ns if place.is_file() else 0 for place in places]


def _recorded(stage: Stage, paths: Iterable[str]) -> dict[str, str | None]:
    return {path: stage.recorded.inputs.get(path) if stage.recorded else None for path in paths}
