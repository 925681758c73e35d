"""A folder that explains and proves itself: `index.json` lists its files with their sizes and SHA-256, and some facts.

Everything a stage writes is such a folder. Its index is what the next stage takes as its identity, so that a file which
was cut off or changed is refused by name before any work is done on it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lmmodel.params.refusal import Refusal

INDEX = "index.json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What an operating system says where nothing more can be written."""
_CHUNK_BYTES = 1 << 20


def canonical(value: Any) -> str:
    """JSON with one spelling: sorted keys, an indent of one, a newline at the end. NaN is not JSON and raises."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha.update(chunk)
    return sha.hexdigest()


def seal(folder: Path, facts: dict[str, Any]) -> None:
    """Write `folder`'s index: `facts` beside the size and digest of every file below it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / INDEX)
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest(path)} for path in paths
    }
    (folder / INDEX).write_text(canonical({**facts, "files": files}), encoding="utf-8")


def facts(folder: Path) -> dict[str, Any]:
    """What the index of `folder` says, `files` included; a Refusal where there is none or it cannot be read."""
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(f"{path}: is missing; {_remedy(folder)}") from None
    except (ValueError, OSError) as error:
        raise Refusal(f"{path}: cannot be read ({error}); {_remedy(folder)}") from None
    if not isinstance(index, dict) or not isinstance(index.get("files"), dict):
        raise Refusal(f"{path}: is not an index of files; {_remedy(folder)}")
    return index


def verify(folder: Path) -> dict[str, Any]:
    """The index of `folder`, after every file in it was found whole; a Refusal names the first that is not."""
    index = facts(folder)
    for name, expected in index["files"].items():
        path = folder / name
        if not path.is_file():
            raise Refusal(f"{path}: is missing; {_remedy(folder)}")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise Refusal(f"{path}: has {size:,} bytes instead of {expected['bytes']:,}; {_remedy(folder)}")
        if digest(path) != expected["sha256"]:
            raise Refusal(f"{path}: its content is not what {INDEX} says (SHA-256 differs); {_remedy(folder)}")
    return index


def flush(path: Path) -> None:
    """Have the disk hold a file, or a folder with all below it: a power cut from here on costs none of that."""
    for below in (*path.rglob("*"), path):
        _sync(below)


def write(path: Path, text: str) -> None:
    """A small file, whole or not at all, on the disk when this is done; of several who write it at once, the last's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    while not _written(partial, text, path):
        pass
    _sync(path.parent)


def _written(partial: Path, text: str, path: Path) -> bool:
    """Write what becomes `path`, alone; False where another did meanwhile, whose `partial` is `path` by now."""
    with partial.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            is_ours = os.path.samestat(partial.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            is_ours = False
        if not is_ours:
            return False
        file.truncate(0)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        partial.replace(path)
    return True


def move(source: Path, target: Path) -> None:
    """Rename, within one folder, so that a power cut finds one of the two names."""
    source.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Of a folder, the names in it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remedy(folder: Path) -> str:
    return f"`dvc checkout --force {folder}` brings back what was recorded, `dvc repro` makes it again"
