"""The ways by which the stage is started, and who is who among the processes of one."""

from __future__ import annotations

import os
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.faults.scene import STAGE
from tests.project import Project

MATERIALIZE = ("dagster", "asset", "materialize", "--select", STAGE, "-m", "pipelines.definitions")
DOORS = {"dvc repro": ("dvc", "repro", STAGE), "Dagster": (sys.executable, "-m", *MATERIALIZE)}
WITHIN_SECONDS = 600
LOOK_SECONDS = 0.02


class Door:
    """One that was opened. process: the person's dvc, or Dagster's run worker. said: all that it printed."""

    def __init__(self, name: str, project: Project) -> None:
        self.process = project.start(*DOORS[name])
        self.said = ""
        self._root = psutil.Process(self.process.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def find(self, role: str) -> psutil.Process | None:
        """Who plays a role, as soon as it is there; None where the door was closed before."""
        ends = time.monotonic() + WITHIN_SECONDS
        while self.process.poll() is None and time.monotonic() < ends:
            if found := next((one for one in self._all() if plays(one, role)), None):
                return found
            time.sleep(LOOK_SECONDS)
        return None

    def wait(self) -> int:
        """Until it is closed and nobody is left who could say more; the exit code."""
        self._reader.join(WITHIN_SECONDS)
        assert not self._reader.is_alive(), f"{self._root} does not come to an end"
        return int(self.process.returncode)

    def _read(self) -> None:
        self.said, _ = self.process.communicate()

    def _all(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []


def plays(process: psutil.Process, role: str) -> bool:
    """Whether a process is the `worker` that was started first, the `keeper`, the `dvc` or the `trainer`."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    modules = {word for flag, word in pairwise(words) if flag == "-m"}
    names = {Path(word).name for word in words[:2]}
    keeps = any(Path(word).name == "keeper.py" for word in words)
    return {
        "worker": "dagster" in modules,
        "keeper": keeps,
        "dvc": ("dvc" in modules or "dvc" in names) and not keeps,
        "trainer": f"pipelines.{STAGE}" in modules and "python" in Path(words[0]).name,
    }[role]


def left(project: Project) -> list[str]:
    """The commands of the processes that live in the project's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            is_there = Path(process.cwd()).is_relative_to(project.root) and process.pid != os.getpid()
            if is_there and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
