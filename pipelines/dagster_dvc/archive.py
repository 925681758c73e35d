"""Small files out of dvc's cache, by the hash that a ``dvc.lock`` gives them; also of results from elsewhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo


def oid_of(content: bytes) -> str:
    """What DVC calls a file by: the MD5 of its bytes."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Archive:
    """The cache of an open project. `fetching`: what is not in it is asked of the remote, where there is one."""

    def __init__(self, repo: Repo, *, fetching: bool = False) -> None:
        self._repo = repo
        self._fetching = fetching

    def has(self, oid: str | None) -> bool:
        """Whether an object lies in the cache on this machine, of a folder every file."""
        path = Path(self._repo.cache.local.oid_to_path(oid)) if oid else Path()
        if not oid or not path.is_file():
            return False
        try:
            return not oid.endswith(".dir") or all(self.has(one["md5"]) for one in json.loads(path.read_bytes()))
        except (ValueError, TypeError, KeyError):  # the list of a folder, damaged
            return False

    def read(self, oid: str | None) -> bytes | None:
        """The bytes of one object; None where it is not to be had."""
        if not oid:
            return None
        path = Path(self._repo.cache.local.oid_to_path(oid))
        if not path.is_file() and self._fetching:
            self._fetch(oid)
        return path.read_bytes() if path.is_file() else None

    def within(self, oid: str | None, name: str) -> bytes | None:
        """The bytes of the file `name` in the folder that `oid` lists."""
        listed = self.read(oid)
        known = {item["relpath"]: item["md5"] for item in json.loads(listed)} if listed else {}
        return self.read(known.get(name))

    def folder(self, oid: str) -> list[tuple[str, bytes]] | None:
        """Every file of the folder that `oid` lists, by its path there; None where one of them is not to be had."""
        listed = self.read(oid)
        found = [(item["relpath"], self.read(item["md5"])) for item in json.loads(listed)] if listed else []
        whole = [(name, content) for name, content in found if content is not None]
        return whole if whole and len(whole) == len(found) else None

    def _fetch(self, oid: str) -> None:
        from dvc.config import NoRemoteError
        from dvc.exceptions import DvcException
        from dvc_data.hashfile.hash_info import HashInfo

        try:
            self._repo.cloud.pull([HashInfo("md5", oid)])
        except (NoRemoteError, DvcException, OSError):
            self._fetching = False  # nobody answers: asking again for each file would only take time
