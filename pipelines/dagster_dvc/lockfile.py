"""A `dvc.lock` that was cut short: dvc writes it in place, so a dvc that is killed at that moment leaves half of it.

Nothing is lost by that: what a stage made is in dvc's cache, and its run cache knows under what. So the stages whose
entries are whole keep them, and dvc restores the others when it comes to them.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

from pipelines.dagster_dvc import graph

NAME = "dvc.lock"
ENTRY = re.compile(r"^  [^\s#].*:\s*$")  # the first line of a stage's entry
HEAD = "schema: '2.0'\nstages:"


def torn(root: Path) -> Path | None:
    """The first `dvc.lock` of the project at `root` that dvc cannot read, None where all are whole."""
    error = unreadable(root)
    return error.path if error and error.path and error.path.name == NAME else None


def unreadable(root: Path) -> graph.UnreadableError | None:
    """Why dvc cannot read the project at `root`; None where it can."""
    try:
        graph.settled(root)
    except graph.UnreadableError as error:
        return error
    return None


def mend(root: Path) -> list[str]:
    """Make every torn lock file one that dvc can read; a line for each."""
    told = []
    while path := torn(root):
        text = path.read_text(encoding="utf-8", errors="replace")
        entries = _entries(text)[:-1]  # the last one may have been cut
        _replace(path, "\n".join([HEAD, *entries, ""]) if entries else "")
        name = os.path.relpath(path, root)
        told.append(
            f"{name} was cut short by a dvc that was killed: {len(entries)} of its stages stand, the rest is restored"
        )
    return told


def _entries(text: str) -> list[str]:
    """The lines of each stage that `text` has begun to record."""
    lines = text.splitlines()
    bounds = [*(place for place, line in enumerate(lines) if ENTRY.match(line)), len(lines)]
    return ["\n".join(lines[start:end]) for start, end in pairwise(bounds)]


def _replace(path: Path, text: str) -> None:
    """Write whole or not at all; an empty lock file is one that is not there."""
    if not text:
        path.unlink()
        return
    fresh = path.with_name(f".{NAME}.mended")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
