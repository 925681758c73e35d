"""dvc's run cache, after a kill: a folder that was made for an entry, and no entry in it.

dvc takes the latest entry of such a folder, finds none, and fails on that stage from then on, with ``join() argument
must be str, bytes, or os.PathLike object, not 'NoneType'`` (3.67).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.dagster_dvc import graph

if TYPE_CHECKING:
    from dvc.repo import Repo


def vacant(root: Path) -> list[Path]:
    """The empty folders; none where dvc cannot read the project."""
    try:
        with graph.readable(root) as repo:
            return list(_vacant(repo))
    except graph.UnreadableError:
        return []


def mend(root: Path) -> list[str]:
    """Remove them; a line for each. Under dvc's lock, which a dvc holds that is just putting an entry there.

    None where another dvc holds that lock for long, or where dvc cannot read the project.
    """
    from dvc.lock import LockError

    found: list[Path] = []
    with suppress(graph.UnreadableError, LockError), graph.readable(root) as repo:
        if any(_vacant(repo)):
            with repo.lock:
                found = list(_vacant(repo))
                for folder in found:
                    folder.rmdir()
    return [f"{os.path.relpath(folder, root)} was left empty by a dvc that was killed: removed" for folder in found]


def _vacant(repo: Repo) -> Iterator[Path]:
    for folder in Path(repo.stage_cache.cache_dir).glob("*/*"):
        if folder.is_dir() and not any(folder.iterdir()):
            yield folder
