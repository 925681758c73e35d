"""How every stage does its work: read once, work in scratch, look again, and only then put the result in its place.

    from pipelines import work

    def produce(job: work.Job) -> None: ...

    if __name__ == "__main__":
        work.run("corpus", Corpus, produce)

A stage that was killed goes on from what it kept in `job.scratch`. A stage whose parameters, code or data changed while
it ran ends with an error that names the change; its finished work is kept and taken up when things are as they were.
Nothing here reaches an output.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Generic, TypeVar

from lmmodel import folder
from lmmodel.learning.settings import Launch
from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import Settings
from pipelines import devices, gate, parameters, paths, record
from pipelines.dagster_dvc import starter
from pipelines.scratch import Scratch, tidy

TIMINGS = paths.OWN / "timings.json"

Section = TypeVar("Section", bound=Settings)


@dataclass(frozen=True)
class Job(Generic[Section]):
    """What a stage is given to work with.

    section: the stage's options, complete, as design resolved them. seed: 0 for stages that never draw.
    output: an empty folder to fill and seal. scratch: a folder that survives a kill, for what it takes to go on.
    curve: the file of a stage that has a curve; it too survives. inputs: the folders that the stage reads, by name,
    verified. identity: hash of all that the result depends on.
    """

    stage: str
    section: Section
    seed: int
    launch: Launch
    output: Path
    scratch: Path
    curve: Path
    inputs: dict[str, Path]
    identity: str

    def metrics(self, values: dict[str, Any]) -> None:
        """The numbers that stand beside the output as `<stage>.json`."""
        (self.output.parent / "metrics.json").write_text(folder.canonical(values), encoding="utf-8")


def run(
    name: str,
    settings: type[Section],
    produce: Callable[[Job[Section]], None],
    *,
    dismiss: Callable[[], None] | None = None,
    foresee: Callable[[parameters.Parameters], None] = lambda given: None,
) -> None:
    """Stage `name`, from its inputs to its place in the project; ends the process with 1 where that cannot be.

    Of several processes at one stage (torchrun's environment says so) the first does what one alone would; the others
    only produce, with it. dismiss: lets them go where it has nothing to produce; None: the stage runs in one process.
    foresee: refuses parameters with which something after this stage could not be done.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    with plainly(name):
        if size > 1 and dismiss is None:
            raise Refusal(f"{name}: runs in one process, and the environment says WORLD_SIZE={size}")
        stage = paths.stage(name)
        given = parameters.read()
        foresee(given)
        before = record.read(stage)
        scratch = Scratch(stage, before.identity)
        code = before.plan["code"]
        if rank:
            _follow(_job(scratch, settings, given, before), produce, code)
            return
        starter.watch(stage.output)
        _enter(stage, before, given)
        tidy(scratch)
        with scratch.held():
            if scratch.finished:
                say(name, "was finished before; taken up as it is")
                if size > 1 and dismiss is not None:
                    dismiss()
            else:
                _work(scratch, _job(scratch, settings, given, before), produce, code)
            _leave(stage, before, scratch)
            scratch.promote()


def _work(scratch: Scratch, job: Job[Section], produce: Callable[[Job[Section]], None], code: dict[str, str]) -> None:
    """Do the work, in scratch."""
    resumed = scratch.state.is_dir() and any(scratch.state.iterdir())
    scratch.clear()
    began = time.perf_counter()
    with gate.only(code), devices.claimed(job.stage, job.launch):
        produce(job)
    scratch.finish()
    _note_time(job.stage, job.identity, time.perf_counter() - began, resumed=resumed)


def _follow(job: Job[Section], produce: Callable[[Job[Section]], None], code: dict[str, str]) -> None:
    """Do the work with the first process, which alone writes."""
    with TemporaryDirectory() as nowhere, gate.only(code):
        produce(replace(job, output=Path(nowhere), curve=Path(nowhere, "curve.csv")))


def _job(
    scratch: Scratch, settings: type[Section], given: parameters.Parameters, before: record.Record
) -> Job[Section]:
    section = dict(before.plan["section"])
    seed = section.pop("seed", 0)
    return Job(
        stage=scratch.stage.name,
        section=settings.model_validate(section),
        seed=seed,
        launch=given.launch,
        output=scratch.output,
        scratch=scratch.state,
        curve=scratch.curve,
        inputs=scratch.stage.inputs,
        identity=before.identity,
    )


def _enter(stage: paths.Stage, before: record.Record, given: parameters.Parameters) -> None:
    """Refuse to begin from data that is not whole, or from a plan that is no longer what stands in the project."""
    for path in stage.inputs.values():
        if record.is_sealed(path):
            folder.verify(path)
    if changed := record.changes(stage, before.plan, given):
        raise Refusal(
            f"{stage.name}: {record.some(changed)}, and {stage.plan} says otherwise.\n"
            f"Run `dvc repro` (not -s), so that design comes first; `dvc repro -f design`, should it say so again."
        )


def _leave(stage: paths.Stage, before: record.Record, scratch: Scratch) -> None:
    """Refuse to hand over a result for what it was not made of.

    Parameters were read once, and code passed the gate, so what they gave is kept for when they are as they were. Data
    that changes while it is read may give anything: that is not kept.
    """
    mixed = [f"the code of {name} changed" for name in gate.strangers(before.plan["code"])]
    try:
        mixed += record.drift(before, record.read(stage))
        changed = record.changes(stage, before.plan, parameters.read())
    except Refusal as error:
        changed = [str(error)]
    if mixed:
        scratch.discard()
        raise Refusal(
            f"{stage.name}: while it ran, {record.some(mixed + changed)}.\n"
            f"Nobody knows how much of that it saw, so its result is not kept: run `dvc repro` again."
        )
    if changed:
        raise Refusal(
            f"{stage.name}: while it ran, {record.some(changed)}. Its result belongs to what was there before.\n"
            f"It is finished and kept in {scratch.folder}: put that back, and `dvc repro` takes it up at once."
        )


def say(name: str, text: str) -> None:
    """One line about stage `name`, on standard error."""
    print(f"{name}: {text}", file=sys.stderr, flush=True)


def _note_time(name: str, identity: str, seconds: float, *, resumed: bool) -> None:
    """How long the work took, kept on this machine for the summary: an output never says."""
    file = paths.home() / TIMINGS
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f"{file.name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # stages that end at the same moment each add to what is there
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        run = {"seconds": round(seconds, 3), "resumed": resumed, "ended": int(time.time())}
        known.setdefault(name, {})[identity] = run
        folder.write(file, folder.canonical(known))


# --- what a person is told when it does not work

_NO_WRITING = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def plainly(name: str) -> Iterator[None]:
    """Whatever a person can mend is told in a line or two, without a traceback, and ends the process with 1."""
    try:
        yield
    except Refusal as refusal:
        _end(str(refusal))
    except KeyboardInterrupt:
        print(f"{name}: stopped; `dvc repro` goes on from what it last saved", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        if reason := _mendable(error):
            _end(
                f"{name}: {reason}.\nNothing is lost: what was there before is in DVC's cache, and `dvc checkout` "
                f"brings it back. Once that is mended, `dvc repro` goes on."
            )
        raise


def _mendable(error: BaseException | None) -> str:
    """What a person can do something about: no room, or no permission to write, however deep a library wrapped it."""
    while error is not None:
        number = getattr(error, "errno", None)
        file = getattr(error, "filename", None)
        where = f" ({file})" if file else ""
        if number in folder.NO_ROOM or "No space left on device" in str(error):
            return f"the disk is full{where}"
        if number in _NO_WRITING and isinstance(error, OSError):
            return f"cannot write{where}: {error.strerror}"
        error = error.__cause__ or error.__context__
    return ""


def _end(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
    raise SystemExit(1) from None
