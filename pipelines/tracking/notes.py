"""The file between a stage and MLflow: one JSON record a line, and copies of the artifacts beside it.

A writer holds a shared lock for as long as it lives, and so does the process that carries the notes away. Whoever finds
notes that nobody holds may take them: their writer is gone, and nobody is carrying them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines import paths

LINES = "notes.jsonl"
_ARTIFACTS = "artifacts"
_PAGES = ("report.md", "samples.md")
_ARTIFACT_BYTES = 16 << 20  # weights stay in DVC; what belongs here is a table, a page of samples, a declaration

Record = dict[str, Any]


def place(root: Path | None = None) -> Path:
    """Where notes wait to be carried to MLflow."""
    return paths.home(root) / paths.OWN / "tracking"


class Writer:
    """Appends records. Every call is one short write to a local file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        draft = folder.with_name(f"new-{folder.name}")  # nobody finds it before its lock is held
        (draft / _ARTIFACTS).mkdir(parents=True)
        self._file = (draft / LINES).open("a", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_SH)
        draft.rename(folder)

    def add(self, **record: Any) -> None:
        """One record with the time of now, in milliseconds as MLflow counts them."""
        self._file.write(json.dumps({"time_ms": time.time_ns() // 1_000_000, **record}) + "\n")
        self._file.flush()

    def keep(self, path: Path) -> None:
        """A copy of a small file, since the original may move or change before it is carried away."""
        if path.stat().st_size > _ARTIFACT_BYTES:
            raise ValueError(f"{path} is too large for an artifact of MLflow: {path.stat().st_size:,} bytes")
        shutil.copyfile(path, self.folder / _ARTIFACTS / path.name)
        self.add(artifact=path.name)

    def keep_pages(self, folder: Path) -> None:
        """The pages that a stage may have written into its folder, each once, in their order."""
        for page in (folder / name for name in _PAGES):
            if page.is_file() and not (self.folder / _ARTIFACTS / page.name).is_file():
                self.keep(page)

    def close(self) -> None:
        """No more records; the lock is given up."""
        self._file.close()


class Reader:
    """Reads records as they arrive, each once. A line that is still being written is left for later.

    `alone`: not beside their writer or another reader. OSError when the notes are held that way, or gone.
    """

    def __init__(self, folder: Path, *, alone: bool = False) -> None:
        self.folder = folder
        self._file = (folder / LINES).open("rb")
        self._rest = b""
        try:
            fcntl.flock(self._file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise

    def new(self) -> Iterator[Record]:
        """The records since the last call."""
        lines = (self._rest + self._file.read()).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            yield json.loads(line)

    def artifact(self, name: str) -> Path:
        """The kept copy of an artifact."""
        return self.folder / _ARTIFACTS / name

    def discard(self) -> None:
        """All was carried away."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Leave the notes where they are, and the lock to others."""
        self._file.close()


def begin(folder: Path, name: str) -> Writer:
    """A new writer below `folder`. Its name sorts by time, so that notes are carried in the order they were begun."""
    return Writer(folder / f"{time.time_ns()}-{os.getpid()}-{name}")


def abandoned(folder: Path) -> Iterator[Reader]:
    """Notes whose writer is gone and which nobody carries, oldest first; each is held from then on."""
    for notes in sorted(folder.glob("[0-9]*")):
        with suppress(OSError):
            yield Reader(notes, alone=True)


def held(folder: Path) -> tuple[str, ...]:
    """The beginnings of the identities whose notes below `folder` somebody holds: the stage, or who carries them."""
    return tuple(notes.name.rpartition("-")[2] for notes in folder.glob("[0-9]*") if _is_held(notes))


def _is_held(notes: Path) -> bool:
    try:
        Reader(notes, alone=True).close()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
