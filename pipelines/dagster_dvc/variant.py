"""Variants from Dagster's launchpad: the whole pipeline with other parameters, as a dvc experiment.

Params.yaml stays as it is. What comes out stands in ``dvc exp show``, and ``dvc exp apply`` takes it over.
"""

import os
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.dagster_dvc import assets, graph, report, runner
from pipelines.dagster_dvc.translator import Translator


class Variant(dg.Config):
    """What is to be other than params.yaml has it."""

    changes: list[str] = Field(description="KEY=VALUE each, as `dvc exp run --set-param` takes them: model.depth=4")
    name: str = Field("", description="What the experiment is called; without a name it is called after the run.")


def job(root: str | os.PathLike[str], translator: Translator | None = None, *, name: str = "variant") -> Any:
    """A job that is told `Variant` in the launchpad. It takes its turn in the pool of the stages that have one."""
    with assets.declared(root) as project:
        pools = [pool for stage in project.stages if (pool := (translator or Translator()).pool(stage))]

    @dg.op(name=f"{name}_experiment", pool=next(iter(pools), None), out=dg.Out(str))
    def run_experiment(context: dg.OpExecutionContext, config: Variant) -> str:
        called = config.name or f"dagster-{context.run_id[:8]}"
        with runner.experiment(root, called, config.changes) as run:
            try:
                for line in filter(None, run):
                    context.log.info(line)
            except runner.DvcError as failure:
                raise dg.Failure(f"{called}: {failure}", allow_retries=False) from None
        context.add_output_metadata(came_out(root, called))
        return called

    @dg.job(name=name, description="The pipeline with other parameters, as a dvc experiment; files stay as they are.")
    def variant() -> None:
        run_experiment()

    return variant


def came_out(root: str | os.PathLike[str], experiment: str) -> report.Metadata:
    """Its metrics, as numbers and as a table, and its name."""
    with graph.repository(root) as repo:
        shown = repo.metrics.show(revs=[experiment], hide_workspace=True)
    files = [data for told in shown.values() for data in told.get("data", {}).values()]
    return {"experiment": dg.MetadataValue.text(experiment), **report.figures(*(file.get("data") for file in files))}
