"""One fault, tried on a project of its own, and what became of that."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.doors import LOOK_SECONDS, left
from benchmarks.faults.scene import STAGE, Scene, works
from lmmodel.learning.saving import states
from tests.project import Project, Ran

GONE_WITHIN_SECONDS = 10.0


@dataclass
class Trial:
    """A project as the scene begins, and chance, from which a fault draws its moment. in_time: whether it struck."""

    scene: Scene
    project: Project
    chance: random.Random
    in_time: bool = True
    wrong: list[str] = field(default_factory=list)

    def check(self, holds: bool, text: str) -> None:
        """Note what should have been and is not."""
        if not holds:
            self.wrong.append(text)


@dataclass(frozen=True)
class Fault:
    """door: by which the stage is started. name: what goes wrong. strike: starts the stage and has it go wrong.

    confined: it needs a small file system of its own.
    """

    door: str
    name: str
    strike: Callable[[Trial], None]
    confined: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a trial came to. mended: `lmmodel doctor --fix` came first. wrong: what did not survive, if anything."""

    door: str
    name: str
    seed: int
    in_time: bool
    mended: bool
    wrong: tuple[str, ...]
    seconds: float

    @property
    def survived(self) -> bool:
        """Nobody was left behind, nothing was lost, and the bytes are those of an unbroken training."""
        return not self.wrong


def tried(fault: Fault, seed: int, scene: Scene, root: Path) -> Outcome:
    """Have it happen in a copy at `root`, then do what a person would do: `dvc repro` once more."""
    began = time.monotonic()
    trial = Trial(scene, scene.begun.copy(root), random.Random(f"{fault.door}, {fault.name}, {seed}"))
    fault.strike(trial)
    trial.check(not (orphans := outlived(trial.project)), f"still there: {'; '.join(orphans)}")
    mended = taken_up(trial)
    trial.check(trial.project.outputs() == scene.outputs, "other bytes than those of an unbroken training")
    trial.check(trial.project.read("dvc.lock") == scene.lock, "another dvc.lock than that of an unbroken training")
    trial.check(not trial.project.repro(STAGE).stages, "it runs again, with nothing to do")
    seconds = time.monotonic() - began
    return Outcome(fault.door, fault.name, seed, trial.in_time, mended, tuple(trial.wrong), seconds)


def outlived(project: Project) -> list[str]:
    """Who is still there when a stopped training has to be gone."""
    ends = time.monotonic() + GONE_WITHIN_SECONDS
    while (there := left(project)) and time.monotonic() < ends:
        time.sleep(LOOK_SECONDS)
    return there


def taken_up(trial: Trial) -> bool:
    """The stage once more, from what was saved; whether that took `lmmodel doctor --fix` first."""
    step = saved(trial.project)
    ran = trial.project.dvc("repro", STAGE)
    if mended := ran.code != 0:
        trial.check("Traceback" not in ran.output, ran.output)
        doctor = trial.project.python("-m", "pipelines.cli", "doctor", "--fix")
        trial.check(doctor.code == 0, doctor.output)
        ran = trial.project.repro(STAGE)
    trial.check(goes_on(ran, step), f"step {step} was saved, and it did not go on from there: {ran.output}")
    return mended


def saved(project: Project) -> int:
    """The last step whose state is kept, 0 without any."""
    found = [state for scratch in works(project).glob("*/state") for state in states(scratch)]
    return int(found[-1].name.rpartition("-")[2]) if found else 0


def goes_on(ran: Ran, step: int) -> bool:
    """Whether a run began with what was there: no work, or finished work, or work that was saved."""
    if STAGE not in ran.stages or "taken up as it is" in ran.output:
        return True
    told = re.search(r"goes on after step ([\d,]+)", ran.output)
    return step == (int(told[1].replace(",", "")) if told else 0)
