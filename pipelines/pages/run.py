"""Whatever is out of date, made; then the report. What `make run` does once everything is installed.

The same as `lmmodel plan`, `dvc repro` and `lmmodel report`, one after the other. Type it again after a change, or
after it was stopped: it goes on from there.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipelines import outlook, parameters, standing
from pipelines.dagster_dvc import lockfile, runner
from pipelines.pages import plan, report


def arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing: what to make is in params.yaml."""


def show(told: argparse.Namespace) -> None:
    """Validate, say what will be done, do it, and show what came out.

    Whether there is anything to do, DVC decides. Where there seems to be nothing, the page is made while DVC looks.
    """
    declared = parameters.read()
    found, before = _surveyed(declared), standing.lock()
    idle = all(item.is_current for item in found)
    if not idle:
        print("\n".join([*plan.page(outlook.plan(declared)), ""]), flush=True)
    with runner.started(".") as run, ThreadPoolExecutor(1) as meanwhile:
        page = meanwhile.submit(report.page, found) if idle else None
        code = run.watch()
    if code:
        raise SystemExit(code)
    # Only then: what a clone makes may be just what its dvc.lock says, and a page from before would show nothing of it.
    lines = page.result() if page and standing.lock() == before else report.page(standing.survey(parameters.read()))
    print("\n".join(lines), flush=True)
    report.mend()


def _surveyed(declared: parameters.Parameters) -> list[standing.Standing]:
    """How everything stands; where a `dvc.lock` is torn, which only dvc can tell for sure, once it is mended."""
    if standing.is_legible():
        found = standing.survey(declared)
        if all(item.is_current for item in found):
            return found
    for line in lockfile.mend(Path()):
        print(line, flush=True)
    return standing.survey(declared)
