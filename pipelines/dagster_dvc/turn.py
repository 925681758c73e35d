"""Whose turn it is: dvc refuses at once when another process works on the same files, and so does not wait.

dvc writes into ``.dvc/tmp/rwlock`` who reads and who writes which path, and holds ``.dvc/tmp/lock`` whenever it is not
running a stage's command. The second can be waited for (``--wait-for-lock``); for the first a conflict ends dvc with
"is busy". `await_turn` waits for both before dvc is started, and says for whom. A process that is gone but that nobody
has taken note of (a zombie) counts as alive for dvc, for ever; its entries are taken out here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.dagster_dvc.graph import Stage, overlaps

BOOK = Path(".dvc/tmp/rwlock")
LOOK_SECONDS = 0.5


class BookError(Exception):
    """dvc's book of who holds what cannot be read."""


@dataclass(frozen=True)
class Holder:
    """A process that has to be waited for, and the path that it works on."""

    pid: int
    command: str
    path: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command}), which works on {self.path}"


def await_turn(root: Path, stages: list[Stage]) -> Iterator[str]:
    """Until nobody works on what `stages` read and write; yields a line whenever it is somebody else's turn."""
    seen = said = None
    while holder := next(holders(root, stages), None):
        if holder == seen != said:  # seen twice: not one of the short moments in which dvc writes something down
            yield f"waiting for {holder}"
            said = holder
        seen = holder
        time.sleep(LOOK_SECONDS)


def is_free(root: Path) -> bool:
    """Whether nobody works in the project at all; asked without dvc's own code, whose import takes longer."""
    folder = (root / BOOK).parent
    if not folder.is_dir():
        return folder.parent.is_dir()
    try:
        return not entered(root) and not any(_repository_holder(root))
    except BookError:
        return False


def entered(root: Path) -> list[Holder]:
    """Everybody in dvc's book, the dead too; a BookError where it cannot be read. Without dvc's own code."""
    path = root / BOOK
    try:
        modes: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        entries = [(place, entry) for held in modes.values() for place, item in held.items() for entry in listed(item)]
        return [Holder(int(entry["pid"]), short(entry["cmd"]), place) for place, entry in entries]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BookError(f"{path} is damaged: {error}") from None


def holders(root: Path, stages: list[Stage]) -> Iterator[Holder]:
    """The living processes that keep `stages` from running now: readers only where they read what is to be written."""
    writes = [output.path for stage in stages for output in stage.outputs]
    reads = [path for stage in stages for path in stage.inputs]
    book = _book(root)
    for path, entries in book["write"].items():
        if _touches(path, writes + reads):
            yield from (Holder(entry["pid"], short(entry["cmd"]), path) for entry in entries)
    for path, entries in book["read"].items():
        if _touches(path, writes):
            yield from (Holder(entry["pid"], short(entry["cmd"]), path) for entry in entries)
    yield from _repository_holder(root)


def _touches(path: str, others: list[str]) -> bool:
    return any(overlaps(path, other) for other in others)


def _book(root: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """dvc's book, with paths relative to the root, rid of the dead, read under the lock that dvc writes it under."""
    from dvc.fs import localfs
    from dvc.lock import LockError
    from dvc.rwlock import RWLockFileCorruptedError, RWLockFileFormatError, _edit_rwlock

    path = root / BOOK
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _edit_rwlock(str(path.parent), localfs, False) as lock:
            for entries in (lock["write"], lock["read"]):
                _bury(entries)
            return {mode: _relative(lock[mode], root) for mode in ("write", "read")}
    except (RWLockFileCorruptedError, RWLockFileFormatError) as error:
        raise BookError(
            f"{path} is damaged: a dvc was killed while it wrote there. When no dvc runs, delete that file"
        ) from error
    except LockError:  # somebody is at the book for longer than dvc ever is: let dvc decide
        return {"write": {}, "read": {}}


def _bury(entries: dict[str, Any]) -> None:
    """Take out the entries of the dead: one process a path under "write", several under "read"."""
    for path, held in list(entries.items()):
        living = [entry for entry in listed(held) if lives(entry["pid"])]
        if not living:
            del entries[path]
        elif isinstance(held, list):
            entries[path] = living


def listed(held: dict[str, Any] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of one path: one process may write it, several may read it."""
    return held if isinstance(held, list) else [held]


def _relative(entries: dict[str, Any], root: Path) -> dict[str, list[dict[str, Any]]]:
    return {Path(os.path.relpath(path, root)).as_posix(): listed(held) for path, held in entries.items()}


def lives(pid: int) -> bool:
    """Whether there is such a process, other than one that only waits for its parent to take note of its end."""
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _repository_holder(root: Path) -> Iterator[Holder]:
    """Who holds the whole repository. The file keeps the last holder's number: only a refused lock counts."""
    import psutil

    with (root / ".dvc" / "tmp" / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            with contextlib.suppress(ValueError, psutil.Error):
                process = psutil.Process(int(file.read()))
                yield Holder(process.pid, short(" ".join(process.cmdline())), "the whole repository")


def short(command: str) -> str:
    """The command as a person would type it: ``dvc repro`` for ``/there/bin/python /here/dvc/__main__.py repro``."""
    words = command.split()
    for place, word in enumerate(words):
        if Path(word).name == "dvc" or word.endswith(("dvc/__main__.py", "dvc/__main__.pyc")):
            return " ".join(["dvc", *words[place + 1 :]])
    return command
