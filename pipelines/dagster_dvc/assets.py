"""The assets of a ``dvc.yaml``: one op a stage, one asset an output, each run by dvc and none by Dagster itself.

An op always reports its assets, also when dvc finds nothing to do: with the versions that dvc.lock holds, so that runs,
edits and reverts in a terminal and in Dagster are told apart by content, never by who made them or when.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.storage.tags import PRIORITY_TAG

from pipelines.dagster_dvc import graph, places, report, runner
from pipelines.dagster_dvc.catalogue import Catalogue
from pipelines.dagster_dvc.graph import Output, Project, Stage
from pipelines.dagster_dvc.live import Live
from pipelines.dagster_dvc.translator import Translator

RETRIES, PAUSE_SECONDS = 2, 10  # of a stage that the machine ended; one that fails by itself would fail again


def load(root: str | os.PathLike[str], translator: Translator | None = None) -> list[dg.AssetsDefinition]:
    """Every stage of the DVC project at `root`. Reads dvc's files and hashes what they name; runs nothing."""
    with declared(root) as project:
        catalogue = Catalogue(project.stages, translator or Translator())
        return [_define(project, catalogue, stage) for stage in catalogue.stages.values()]


@contextmanager
def declared(root: str | os.PathLike[str]) -> Iterator[Project]:
    """The DVC project at `root` as definitions are made of it; an UnreadableError where its stages cannot be read.

    A dvc that pushes or commits much holds its lock for longer than Dagster waits for definitions. Its files can be
    read all that time but a moment, in which it rewrites its dvc.lock in place: who met that one waits to the end.
    """
    with ExitStack() as stack:
        try:
            project = stack.enter_context(graph.legible(root, patient=False))
        except graph.BusyError:
            try:
                project = stack.enter_context(graph.as_it_lies(root))
            except graph.UnreadableError:
                project = stack.enter_context(graph.legible(root))
        yield project


def in_parallel(name: str = "everything") -> Any:
    """A job of all assets that runs branches of the graph side by side: each stage in a process of its own."""
    return dg.define_asset_job(name, dg.AssetSelection.all(), executor_def=dg.multiprocess_executor)


def executor(named: str | None) -> dg.ExecutorDefinition:
    """What runs the steps of a run: one process, or what `named` says: ``dagster_k8s:k8s_job_executor``.

    A name that leads nowhere fails the loading of the definitions, with what it was.
    """
    if not named:
        return dg.in_process_executor
    module, _, attribute = named.partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, dg.ExecutorDefinition):
        raise TypeError(f"{named} is no executor of Dagster's, but {type(found).__name__}")
    return found


def results(
    root: Path, catalogue: Catalogue, stage: Stage, *, outcome: str, more: report.Metadata | None = None
) -> Iterator[dg.MaterializeResult]:
    """What dvc.lock and the stage's files say stands of its assets; `more` is shown beside it."""
    came_out = {**report.results(root, stage), **(more or {})}
    for output in catalogue.assets(stage):
        yield dg.MaterializeResult(
            asset_key=catalogue.keys[output.path],
            data_version=dg.DataVersion(catalogue.data_version(output.path)),
            metadata={"outcome": outcome, **report.size(output), **came_out},
            tags=versions(catalogue, stage, output),
        )
        came_out = {}  # once a stage is enough


def versions(catalogue: Catalogue, stage: Stage, output: Output) -> dict[str, str]:
    """The tags by which Dagster tells stale from fresh, as dvc.lock has them.

    Dagster itself would note the definitions as they were loaded and the inputs as it last heard of them; a terminal
    may have passed both.
    """
    tags = {DATA_VERSION_TAG: catalogue.data_version(output.path), CODE_VERSION_TAG: catalogue.recorded_version(stage)}
    for path in catalogue.upstream(stage):
        key = catalogue.keys[path]
        tags[get_input_data_version_tag(key)] = catalogue.read_version(stage, path)
        tags[get_input_event_pointer_tag(key)] = NULL_EVENT_POINTER
    return tags


def _define(project: Project, catalogue: Catalogue, stage: Stage) -> dg.AssetsDefinition:
    root, name, translator = project.root, stage.name, catalogue.translator

    @dg.multi_asset(
        name=re.sub(r"\W", "_", name),
        specs=[_spec(project, catalogue, stage, output) for output in catalogue.assets(stage)],
        pool=translator.pool(stage),
        op_tags={PRIORITY_TAG: str(-catalogue.order.index(name))},  # so that a whole run writes the same dvc.lock
    )
    def run_stage(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetObservation]:
        yield from _materialize(context, root, name, translator)

    return run_stage


def _spec(project: Project, catalogue: Catalogue, stage: Stage, output: Output) -> dg.AssetSpec:
    translator = catalogue.translator
    return dg.AssetSpec(
        key=catalogue.keys[output.path],
        deps=[catalogue.keys[path] for path in catalogue.upstream(stage)],
        description=translator.description(stage, output),
        group_name=translator.group(stage, output),
        kinds=translator.kinds(stage, output),
        code_version=catalogue.code_version(stage, project),
        metadata={**report.declared(stage, output), **places.references(translator.sources(project.root, stage))},
    )


def _materialize(
    context: dg.AssetExecutionContext, root: Path, name: str, translator: Translator
) -> Iterator[dg.MaterializeResult | dg.AssetObservation]:
    """Run one stage through dvc, after those that write what it reads without its being an asset."""
    before = Catalogue(graph.settled(root).values(), translator)
    stage = before.stages[name]
    live = Live(before.keys[before.assets(stage)[0].path], translator.look(root, stage))
    with runner.started(root, *before.prerequisites(stage), name) as run:
        try:
            for line in run:
                if line:
                    context.log.info(line)
                yield from live.observations()
        except runner.DvcError as failure:
            failed = dg.Failure(f"{name}: {failure}", allow_retries=False)
            if not failure.is_fault:
                raise failed from None
            # Not by a retry policy: in one process that would also start again what a person has stopped.
            pause_seconds = PAUSE_SECONDS * 2**context.op_execution_context.retry_number
            raise dg.RetryRequested(RETRIES, pause_seconds) from failed
    after = Catalogue(graph.settled(root).values(), translator)
    stage = after.stages[name]
    more = {**report.texts(root, translator.shown(stage)), **report.links(translator.links(stage))}
    yield from results(root, after, stage, outcome=run.outcomes[name], more=more)
