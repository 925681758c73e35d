"""What goes wrong: each fault by the door that it comes through."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import product

import psutil

from benchmarks.faults.doors import Door
from benchmarks.faults.scene import STAGE
from benchmarks.faults.trial import Fault, Trial
from pipelines.dagster_dvc.turn import BOOK
from tests.project import until

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
ROLES = {"dvc repro": ("trainer", "dvc", "group"), "Dagster": ("trainer", "dvc", "keeper", "worker", "group")}
NAMES = {"worker": "run worker", "group": "whole group"}
FULL = "the disk is full|No space left on device"
AFTERMATH_SECONDS = 1.5  # in which dvc hashes and records, and Dagster reports, when the training is over


def hit(trial: Trial, *, door: str, role: str, number: signal.Signals) -> None:
    """A signal to one of the processes, or to all of the door's group, at some moment of its life."""
    opened = Door(door, trial.project)
    first = {"dvc repro": "dvc", "Dagster": "worker"}[door]
    target = opened.find(first if role == "group" else role)
    late = 0 if role == "trainer" else AFTERMATH_SECONDS
    time.sleep(trial.chance.uniform(0, trial.scene.seconds + late))
    try:
        if target is None:
            raise ProcessLookupError
        if role == "group":
            os.killpg(opened.process.pid, number)
        else:
            target.send_signal(number)
    except (ProcessLookupError, psutil.NoSuchProcess):
        trial.in_time = False
    opened.wait()


def two_doors(trial: Trial, *, first: str, second: str) -> None:
    """The same stage again while it is on its way: one of them trains, the other waits and then finds it done."""
    one = Door(first, trial.project)
    one.find("dvc")
    time.sleep(trial.chance.uniform(0, trial.scene.seconds / 2))
    other = Door(second, trial.project)
    codes = [door.wait() for door in (one, other)]
    said = one.said + other.said
    trial.check(codes == [0, 0], f"they ended with {codes}:\n{said}")
    trial.check(said.count(f"Running stage '{STAGE}'") == 1, f"it was not trained once:\n{said}")


def zombie(trial: Trial, *, door: str) -> None:
    """The writer in dvc's book is a process that is gone, and that nobody has taken note of."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    until(lambda: psutil.Process(dead.pid).status() == psutil.STATUS_ZOMBIE, "a zombie")
    held = f'{{"write": {{"{trial.project.root}/models/{STAGE}": {{"pid": {dead.pid}, "cmd": "dvc repro"}}}}}}'
    trial.project.write({str(BOOK): held})
    opened = Door(door, trial.project)
    trial.check(opened.wait() == 0, opened.said)
    dead.wait()


def torn(trial: Trial, *, name: str) -> None:
    """A file that dvc rewrites in place, of which half is there."""
    if name == str(BOOK):
        trial.project.write({name: f'{{"write": {{"{trial.project.root}/models": {{"pid": 1, "cmd": "dvc repro"}}}}}}'})
    text = trial.project.read(name)
    trial.project.write({name: text[: trial.chance.randrange(len(text))]})


def full_disk(trial: Trial) -> None:
    """Room for a part of what the training writes, on a file system of its own; afterwards there is more."""
    ballast = trial.project.root.with_name("ballast")
    system = os.statvfs(trial.project.root)
    room = round(trial.chance.uniform(0, trial.scene.bytes_written))
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, system.f_bavail * system.f_frsize - room))
    opened = Door("dvc repro", trial.project)
    trial.in_time = opened.wait() != 0
    trial.check(not trial.in_time or bool(re.search(FULL, opened.said)), f"it does not say why: {opened.said}")
    ballast.unlink()


def _named(role: str, number: signal.Signals) -> str:
    return f"{number.name} to the {NAMES.get(role, role)}"


FAULTS = (
    *(
        Fault(door, _named(role, number), partial(hit, door=door, role=role, number=number))
        for door, roles in ROLES.items()
        for role, number in product(roles, SIGNALS)
    ),
    Fault("Dagster", "the same stage in a terminal", partial(two_doors, first="dvc repro", second="Dagster")),
    Fault("Dagster", "the same stage in another run", partial(two_doors, first="Dagster", second="Dagster")),
    Fault("Dagster", "a zombie in dvc's book", partial(zombie, door="Dagster")),
    Fault("dvc repro", "a torn dvc.lock", partial(torn, name="dvc.lock")),
    Fault("dvc repro", "a torn book of who works on what", partial(torn, name=str(BOOK))),
    Fault("dvc repro", "a full disk", full_disk, confined=True),
)
