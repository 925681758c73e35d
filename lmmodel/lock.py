"""One at a time: a file that a process holds while it works, and in which it says who it is.

The lock is the process's own: children do not inherit it, and it ends with the process, however that ends. A file that
lies there proves nothing; only a living process holds it.
"""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmmodel.params.refusal import Refusal


class TakenError(Refusal):
    """Another process holds it, which works in `folder`: nothing where that is not known."""

    def __init__(self, text: str, folder: str) -> None:
        super().__init__(text)
        self.folder = folder


@contextmanager
def held(path: Path, doing: str) -> Iterator[None]:
    """Inside, `path` is held by this process; a TakenError names the one that holds it, who is `doing` the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            number, host, folder = _holder(path)
            raise TakenError(f"{doing}: {_told(number, host)}", folder) from None
        file.truncate(0)
        file.write("\n".join([str(os.getpid()), platform.node(), str(Path.cwd())]))
        file.flush()
        yield


def _holder(path: Path) -> tuple[str, str, str]:
    """Its number, its machine, the folder it works in; nothing of what it has not written yet."""
    number, host, folder, *_ = [*path.read_text(encoding="utf-8").split("\n"), "", "", ""]
    return number, host, folder


def _told(number: str, host: str) -> str:
    """Who holds it, and what to do."""
    if not number:
        return "another process is at this very work. Wait for it"
    where = f" on {host}" if host and host != platform.node() else ""
    return f"process {number}{where} is at this very work. Wait for it, or stop it: kill {number}"
