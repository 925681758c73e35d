"""What the faults strike: a small project whose training is yet to come, and what that ends in when left alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from tests.project import Project, raw, until

STAGE = "pretrain"
LONGER = ("params.yaml", "budget: {tokens: 4096}", "budget: {tokens: 76_800}")
SAVED_OFTEN = ("lmmodel/learning/training.py", "SAVE_SECONDS = 30.0", "SAVE_SECONDS = 0.2")


@dataclass(frozen=True)
class Scene:
    """begun: everything before the training is made. outputs, lock: after an unbroken one.

    seconds: what that took. bytes_written: what it and dvc kept of it, scratch included.
    """

    begun: Project
    outputs: dict[str, bytes]
    lock: str
    seconds: float
    bytes_written: int

    @classmethod
    def make(cls, root: Path) -> Scene:
        """In a new folder."""
        begun = Project.make(root / "begun", raw())
        begun.edit(*LONGER)
        begun.edit(*SAVED_OFTEN)
        begun.repro("tokenizer", "shards")
        whole = begun.copy(root / "whole")
        process = whole.start("dvc", "repro", STAGE)
        until(lambda: works(whole).is_dir(), "the training to begin")
        began = time.monotonic()
        said, _ = process.communicate()
        assert process.returncode == 0, said
        seconds = time.monotonic() - began
        return cls(begun, whole.outputs(), whole.read("dvc.lock"), seconds, _bytes(whole) - _bytes(begun))


def works(project: Project) -> Path:
    """Where the training keeps what it has."""
    return project.root / ".lmmodel/work" / STAGE


def _bytes(project: Project) -> int:
    return sum(path.stat().st_blocks * 512 for path in project.root.rglob("*") if path.is_file())
