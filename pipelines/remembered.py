"""What was read off a source file before: parsing all of a project's code takes 0.3 s, and most of it stays as it is.

An entry is found by a hash of what was read and of the reader, so it can be out of date in no way. Kept in `.lmmodel/`,
where a project has one; without it, or where the file is damaged, everything is read again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

MOST = 4000
"""Entries kept, the latest: a project's code a few dozen times over."""


class Memory:
    """Key -> value of plain data, in one file; read when it is first asked, written by `keep`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fresh = False

    def recall(self, key: str, make: Callable[[], Any]) -> Any:
        """The value that was kept under `key`, or a new one."""
        if key not in self._kept:
            self._kept[key] = make()
            self._fresh = True
        return self._kept[key]

    def keep(self) -> None:
        """Write down what is new, whole or not at all, where the project has a folder for it."""
        if not self._fresh or not self._path.parent.is_dir():
            return
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        partial.write_text(json.dumps(dict(list(self._kept.items())[-MOST:])), encoding="utf-8")
        partial.replace(self._path)
        self._fresh = False

    @cached_property
    def _kept(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}
