"""What can be broken in dvc's own files, and the mending of it: its book of who holds what, and its cache.

The book is looked at in `turn`, a torn `dvc.lock` is mended in `lockfile`. dvc trusts an object in its cache by the
file's mode: one whose bytes changed since, by a failing disk or a program that wrote through a link, is checked out in
silence. Here every byte is read.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.dagster_dvc import graph, turn

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

_CHUNK_BYTES = 1 << 20


# --- the book


def dead_entries(root: Path) -> list[turn.Holder]:
    """The entries of processes that are gone; `turn.BookError` where the book cannot be read. Nothing is written."""
    return [holder for holder in turn.entered(root) if not turn.lives(holder.pid)]


def at_work(root: Path) -> list[str]:
    """The dvc processes that live in the project at `root`, as `process 12 (dvc repro)`."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            command = turn.short(" ".join(process.cmdline()))
            if command.startswith("dvc ") and root.resolve() in (Path(process.cwd()), *Path(process.cwd()).parents):
                found.append(f"process {process.pid} ({command})")
        except psutil.Error:
            continue
    return found


# --- the cache


@dataclass(frozen=True)
class Object:
    """A file in the cache, by the MD5 that names it, and the places in the project where it is laid out."""

    oid: str
    path: Path
    places: tuple[Path, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether its bytes are those that its name says."""
        md5 = hashlib.md5(usedforsecurity=False)
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                md5.update(chunk)
        return md5.hexdigest() == self.oid.removesuffix(".dir")


def objects(root: Path, *, every: bool = False) -> list[Object]:
    """The objects of the results that stand in `dvc.lock`, as far as they are in the cache, or `every` one there is.

    None where dvc cannot read the project: `lockfile.unreadable` says why.
    """
    from dvc.exceptions import DvcException

    with suppress(DvcException), graph.repository(root) as repo:
        places: dict[str, list[Path]] = {}
        for out in _cached(repo):
            for oid, place in _files(out):
                places.setdefault(oid, []).append(place)
        known = [*dict.fromkeys([*places, *(repo.cache.local.all() if every else ())])]
        found = [Object(oid, Path(repo.cache.local.oid_to_path(oid)), tuple(places.get(oid, ()))) for oid in known]
        return [item for item in found if item.path.is_file()]
    return []


def corrupt(some: Iterable[Object], *, seen: Callable[[int], None] = lambda count: None) -> Iterator[Object]:
    """Those that are not what they are called; `seen` is told the bytes that were read."""
    for item in some:
        size = item.path.stat().st_size
        if not item.is_sound:
            yield item
        seen(size)


def remove(root: Path, some: Iterable[Object]) -> list[str]:
    """Take corrupt objects out of the cache, and from the project what was laid out from them.

    Where the project still holds the right bytes, they go back into the cache at once. What is given back are the
    outputs for which that was not so: they have to be pulled, or made again.
    """
    gone = {item.oid for item in some}
    with graph.repository(root) as repo, repo.lock:
        harmed = [out for out in _cached(repo) if gone & {oid for oid, _ in _files(out)}]
        for item in some:
            for place in item.places:
                if place.is_file() and filecmp.cmp(place, item.path, shallow=False):
                    place.unlink()
            item.path.unlink()
        return [str(out) for out in harmed if not _kept(out)]


def only_here(root: Path) -> list[str]:
    """The outputs that lie in the project as `dvc.lock` has them, and that the cache has lost: dvc makes such anew.

    None where dvc cannot read the project.
    """
    from dvc.exceptions import DvcException

    with suppress(DvcException), graph.repository(root) as repo:
        return [str(out) for out in _lost(repo)]
    return []


def keep(root: Path) -> None:
    """Put them into the cache again."""
    with graph.repository(root) as repo, repo.lock:
        for out in list(_lost(repo)):
            _kept(out)


def _lost(repo: Repo) -> Iterator[Output]:
    """Not those of which the cache has the list of files, damaged: `corrupt` finds that."""
    for out in _cached(repo):
        top, *rest = [Object(oid, Path(out.cache.oid_to_path(oid))) for oid, _ in _files(out)]
        is_whole = top.path.is_file() and (all(one.path.is_file() for one in rest) or not top.is_sound)
        if not is_whole and lies_here(out):
            yield out


def lies_here(out: Output) -> bool:
    """Whether an output lies in the project as it was recorded."""
    return bool(out.exists and not out.changed_checksum())


def _kept(out: Output) -> bool:
    """Put an output back into the cache from where it lies, if it lies there as it was recorded."""
    if not lies_here(out):
        return False
    out.commit()
    return True


def _cached(repo: Repo) -> Iterator[Output]:
    for stage in repo.index.stages:
        for out in stage.outs:
            if out.use_cache and out.hash_info and out.protocol == "local" and out.hash_name == "md5":
                yield out


def _files(out: Output) -> Iterator[tuple[str, Path]]:
    """The objects of one output and where they belong; of a folder first the list of its files."""
    place = Path(out.fs_path)
    yield str(out.hash_info.value), place
    if not out.hash_info.isdir:
        return
    try:
        listed = json.loads(Path(out.cache.oid_to_path(out.hash_info.value)).read_text(encoding="utf-8"))
        yield from [(item["md5"], place / item["relpath"]) for item in listed]
    except (OSError, ValueError, TypeError, KeyError):
        return  # it is not here, or it is itself corrupt
