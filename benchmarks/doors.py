"""What a door costs over the bare stage: seconds until dvc, Dagster and `lmmodel plan` have said that nothing is to do.

python -m benchmarks.doors                 every figure, on a small project of its own; ten minutes
python -m benchmarks.doors --only plan     those whose name holds the word
python -m benchmarks.doors --busy          processor seconds, on a machine that others use meanwhile; without the page
python -m benchmarks.doors --json          the same as data

The best of some repetitions stands beside their median: what else the machine does only ever adds. Ends with 1 where
the best is over what is asked.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.dagster_dvc.dagster_dev import Page
from tests.project import Project, raw, until

PLAN = ("-m", "pipelines.cli", "plan", "--json")
STAGE = "corpus"
MATERIALIZE = ("-m", "dagster", "asset", "materialize", "--select", STAGE, "-m", "pipelines.definitions")


Clock = Callable[[], float]


def processor() -> float:
    """Seconds of processor time that all programs took that were started here and have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


@dataclass(frozen=True)
class Figure:
    """asked: seconds at most, None where nobody asked. measure: one repetition, in seconds of a clock.

    waits: for processes that stay, so that only the clock on the wall can time it.
    """

    name: str
    asked: float | None
    measure: Callable[[Project, Clock], float]
    waits: bool = False


def command(*arguments: str) -> Callable[[Project, Clock], float]:
    """A Python program that must succeed."""

    def measure(project: Project, clock: Clock) -> float:
        began = clock()
        ran = project.python(*arguments)
        assert ran.code == 0, ran.output
        return clock() - began

    return measure


def after(edit: tuple[str, str, str], measured: Callable[[Project, Clock], float]) -> Callable[[Project, Clock], float]:
    """The same after an edit of a file, which is then undone. A number in it is another one each time."""

    def measure(project: Project, clock: Clock) -> float:
        name, old, new = edit
        undo = project.edit(name, old, new.format(time.monotonic_ns()))
        try:
            return measured(project, clock)
        finally:
            undo()

    return measure


def ready(project: Project, clock: Clock) -> float:
    """`dagster dev`, until it can say what the assets are."""
    began = clock()
    with dagster_dev(project):
        return clock() - began


def clicked(project: Project, clock: Clock) -> float:
    """Materializing an unchanged stage on the page: from the click until the run is done."""
    with dagster_dev(project) as page:
        time.sleep(5)  # in which the sensor tells what stands there
        began = clock()
        run = page.materialize(STAGE)
        until(lambda: page.status(run) == "SUCCESS", "the run to be done")
        return clock() - began


@contextmanager
def dagster_dev(project: Project) -> Iterator[Page]:
    """Its page, until the block is left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)],
        cwd=project.root,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    page = Page(port, pause_seconds=0.1)

    def answers() -> bool:
        try:
            return bool(page.ask("{ assetNodes { assetKey { path } } }")["assetNodes"])
        except OSError:
            return False

    try:
        until(answers, "dagster dev")
        yield page
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


FIGURES = (
    Figure("`dvc repro`, nothing to do", 1.5, command("-m", "dvc", "repro")),
    Figure("`lmmodel run`, nothing to do", None, command("-m", "pipelines.cli", "run")),
    Figure("`lmmodel plan`, nothing changed", 1.5, command(*PLAN)),
    Figure(
        "`lmmodel plan`, a value of pretrain changed",
        1.5,
        after(("params.yaml", "learning_rate: 0.02", "learning_rate: 0.{}"), command(*PLAN)),
    ),
    Figure(
        "`lmmodel plan`, a value of model changed",
        5.0,
        after(("params.yaml", "depth: 2", "depth: 3  # {}"), command(*PLAN)),
    ),
    Figure(
        "`lmmodel plan`, code changed",
        5.0,
        after(("lmmodel/learning/training.py", "SAVE_SECONDS = 30.0", "SAVE_SECONDS = {}"), command(*PLAN)),
    ),
    Figure("`dagster asset materialize`, an unchanged stage", 6.0, command(*MATERIALIZE)),
    Figure("the same by a click in `dagster dev`", 6.0, clicked, waits=True),
    Figure("`dagster dev`, until it is ready", 15.0, ready, waits=True),
)


def measured(some: list[Figure], project: Project, repeats: int, clock: Clock) -> dict[str, dict[str, float | None]]:
    """Best and median of each, taken in turns, after a first time that fills the caches."""
    seconds: dict[str, list[float]] = {figure.name: [] for figure in some}
    for turn in range(repeats + 1):
        for figure in some:
            took = figure.measure(project, clock)
            print(f"{figure.name}: {took:.2f} s", file=sys.stderr, flush=True)
            if turn:
                seconds[figure.name].append(took)
    return {
        one.name: {
            "best": min(seconds[one.name]),
            "median": statistics.median(seconds[one.name]),
            "asked": one.asked,
        }
        for one in some
    }


def table(found: dict[str, dict[str, float | None]]) -> Iterator[str]:
    """In Markdown."""
    yield from ("| seconds | best | median | asked |", "|---|---:|---:|---:|")
    for name, one in found.items():
        asked = "" if one["asked"] is None else f"{one['asked']:g}"
        yield f"| {name} | {one['best']:.2f} | {one['median']:.2f} | {asked} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="after the first, which is left out")
    parser.add_argument("--only", default="", help="a word of the name")
    parser.add_argument("--busy", action="store_true", help="processor seconds; without what waits for a page")
    parser.add_argument("--json", action="store_true", help="print data")
    told = parser.parse_args()
    some = [one for one in FIGURES if told.only in one.name and not (told.busy and one.waits)]
    with tempfile.TemporaryDirectory(prefix="doors-") as folder:
        project = Project.make(Path(folder) / "project", raw())
        project.repro()
        found = measured(some, project, told.repeats, processor if told.busy else time.perf_counter)
    print(json.dumps(found, indent=1) if told.json else "\n".join(table(found)))
    sys.exit(any(one["asked"] is not None and one["best"] > one["asked"] for one in found.values()))


if __name__ == "__main__":
    main()
