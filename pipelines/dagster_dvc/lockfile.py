"""A `dvc.lock` that dvc cannot read: cut short, as dvc writes it in place and may be killed, or with both sides of a
merge in it, as git leaves it.

Nothing is lost by that: what a stage made is in dvc's cache, and its run cache knows under what. So the stages whose
entries are whole keep them, and dvc restores the others when it comes to them.
"""

from __future__ import annotations

import os
import re
from itertools import accumulate, pairwise
from pathlib import Path

from pipelines.dagster_dvc import graph

NAME = "dvc.lock"
ENTRY = re.compile(r"^  [^\s#].*:\s*$")  # the first line of a stage's entry
HEAD = "schema: '2.0'\nstages:"
OURS, THEIRS = "<<<<<<< ", ">>>>>>> "  # what git puts around the two sides of a merge


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


def harm(path: Path) -> str:
    """What has befallen a torn one, as the end of a sentence about it."""
    is_merged = any(line.startswith(OURS) for line in _read(path).splitlines())
    return "holds both sides of a merge" if is_merged else "was cut short by a dvc that was killed"


def mend(root: Path) -> list[str]:
    """Make every torn lock file one that dvc can read; a line for each."""
    told: dict[str, str] = {}
    while path := torn(root):
        entries, name = _whole(_read(path)), os.path.relpath(path, root)
        what = told[name].split(":")[0] if name in told else f"{name} {harm(path)}"
        told[name] = f"{what}: {len(entries)} of its stages stand, the rest is restored"
        _replace(path, "\n".join([HEAD, *entries, ""]) if entries else "")
    return list(told.values())


def _whole(text: str) -> list[str]:
    """The entries to rely on: those that no open merge reaches into; without one all but the last, which may be cut."""
    lines = text.splitlines()
    bounds = [*(place for place, line in enumerate(lines) if ENTRY.match(line)), len(lines)]
    spans = list(pairwise(bounds))
    depth = [*accumulate(line.startswith(OURS) - line.startswith(THEIRS) for line in lines)]
    if not any(depth):
        spans = spans[:-1]
    return ["\n".join(lines[start:end]) for start, end in spans if not any(depth[start:end])]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _replace(path: Path, text: str) -> None:
    """Write whole or not at all; an empty lock file is one that is not there."""
    if not text:
        path.unlink()
        return
    fresh = path.with_name(f".{NAME}.mended")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
