"""What a stage sees of tracking: it writes notes, and cannot fail or wait."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import paths
from pipelines.parameters import JUDGE, TRAININGS
from pipelines.tracking.notes import Writer, begin, place

if TYPE_CHECKING:
    from pipelines.work import Job

CROWN = "--crown"
"""Tells the process that carries the judge's notes to register the best candidate first. Not in a queued experiment's
copy, which has no place that lasts."""

SWITCH = "LMMODEL_TRACKING"
"""Set to `off`, nothing is noted; `lmmodel report` can still make the runs from what the stages wrote."""

_FAREWELL_SECONDS = 2.0  # for what is still under way when the work is done; the rest is carried without us


def is_on() -> bool:
    """Whether anything goes to MLflow."""
    return os.environ.get(SWITCH) != "off"


class Run:
    """The run of one work. After the first failure, which is told once, every call does nothing."""

    def __init__(self) -> None:
        self._notes: Writer | None = None
        self._carrier: subprocess.Popen[bytes] | None = None

    def log(self, metrics: dict[str, float], *, step: int) -> None:
        """Points of curves. A point that the run already has (the work was resumed from before it) stays as it is."""
        self._quietly(lambda notes: notes.add(metrics=metrics, step=step))

    def figures(self, figures: dict[str, Any]) -> None:
        """What came out: numbers, nested as one likes. Those of `finetune` and `evaluate` rise to the candidate."""
        self._quietly(lambda notes: notes.add(figures=figures))

    def tag(self, tags: dict[str, Any]) -> None:
        """Facts known only while the work runs, such as the resolved device."""
        self._quietly(lambda notes: notes.add(tags={key: str(value) for key, value in tags.items()}))

    def artifact(self, path: Path) -> None:
        """A small file to show with the run: a table, samples. Copied now, so that it may move afterwards."""
        self._quietly(lambda notes: notes.keep(path))

    def pages(self, folder: Path) -> None:
        """The pages in `folder` that the run is described by."""
        self._quietly(lambda notes: notes.keep_pages(folder))

    def checkpoint(self, stage: str) -> None:
        """What `stage` trained, as a model in MLflow by reference: its weights stay in DVC."""
        self._quietly(lambda notes: notes.add(checkpoint={"path": str(paths.stage(stage).output)}))

    def begin(self, job: Job, parameters: dict[str, Any]) -> None:
        """Start noting what `job` does."""
        if not is_on() or os.environ.get("RANK", "0") != "0":
            return
        with self._told():
            from pipelines.tracking.opening import opening

            first = opening(job, parameters)
            self._notes = begin(place(), f"{job.stage}-{job.identity[:12]}")
            self._notes.add(begin=first)
            is_judged = job.stage == JUDGE and not paths.is_copy()
            self._carrier = _carry(self._notes.folder, *([CROWN] if is_judged else []))

    def end(self, status: str) -> None:
        """No more notes: the work is FINISHED, FAILED or KILLED."""
        self._quietly(lambda notes: notes.add(end=status))
        self._quietly(lambda notes: notes.close())
        if self._carrier:
            with suppress(subprocess.TimeoutExpired):
                self._carrier.wait(_FAREWELL_SECONDS)
            self._carrier.returncode = self._carrier.poll() or 0  # else Python warns that nobody waits for it

    def _quietly(self, act: Callable[[Writer], None]) -> None:
        if self._notes:
            with self._told():
                act(self._notes)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._notes = None
            print(f"MLflow will not show this run: {error}. The work goes on.", file=sys.stderr)


@contextmanager
def follow(job: Job, parameters: dict[str, Any] | None = None) -> Iterator[Run]:
    """The run of `job`, for as long as it lasts; `parameters` adds to what the design stage resolved.

    A job that was killed and goes on, or is done once more, goes on in the run that it has.
    """
    run = Run()
    run.begin(job, parameters or {})
    try:
        yield run
    except (KeyboardInterrupt, SystemExit):
        run.end("KILLED")
        raise
    except BaseException:
        run.end("FAILED")
        raise
    run.pages(job.output)
    if job.stage in TRAININGS:
        run.checkpoint(job.stage)
    run.end("FINISHED")


def _carry(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """A process that carries the notes in `folder` to MLflow while they are written.

    It has a session of its own: what stops the training must not stop it, so that the run can be marked as stopped. It
    ends within seconds of the work, and has the project itself for its folder: a queued experiment's copy, with the
    code in it, is deleted at once when its last stage ends.
    """
    with (folder / "carrier.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.tracking.delivery", str(folder), str(os.getpid()), *options],
            cwd=paths.home(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
