"""Where work happens before it is anybody's result: `.lmmodel/work/<stage>/<identity>/`.

    state/          what the stage keeps to go on after a kill
    output/         the folder that becomes the stage's output, whole or not at all
    metrics.json  curve.csv
    finished.json   written last: from then on the work need not be done again, only promoted

Promotion copies (or shares blocks, where the file system can), never hard-links: DVC makes its cache read-only, and a
link would share that. Scratch is kept until `dvc.lock` has the result. Queued experiments work in copies of the project
that are deleted; their scratch is the project's own, so that one that was stopped goes on, and equal work is done once.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmmodel import folder, lock
from lmmodel.params import document
from lmmodel.params.refusal import Refusal
from pipelines import paths
from pipelines.dagster_dvc.archive import Archive, oid_of

_LOOK_SECONDS = 0.2
_SHARE_BLOCKS = 0x40049409  # FICLONE: a copy on write, on Linux file systems that know it


@dataclass(frozen=True)
class Scratch:
    """The scratch folder of one work."""

    stage: paths.Stage
    identity: str

    @property
    def folder(self) -> Path:
        """All of it."""
        return works() / self.stage.name / self.identity

    @property
    def state(self) -> Path:
        """What the stage keeps for itself."""
        return self.folder / "state"

    @property
    def output(self) -> Path:
        """What will be the stage's folder."""
        return self.folder / "output"

    @property
    def metrics(self) -> Path:
        """What will be `<stage>.json`."""
        return self.folder / "metrics.json"

    @property
    def curve(self) -> Path:
        """What will be `<stage>.csv`, of a stage that has one."""
        return self.folder / "curve.csv"

    @property
    def finished(self) -> bool:
        """Whether the work is done and lies here whole."""
        try:
            json.loads(self._marker.read_text(encoding="utf-8"))
            folder.verify(self.output)
        except (OSError, ValueError, Refusal):
            return False
        return True

    @property
    def _marker(self) -> Path:
        return self.folder / "finished.json"

    def clear(self) -> None:
        """An empty output folder; what the stage keeps for itself stays."""
        self._marker.unlink(missing_ok=True)
        shutil.rmtree(self.output, ignore_errors=True)
        self.output.mkdir(parents=True)
        self.state.mkdir(exist_ok=True)

    def finish(self) -> None:
        """From here on this work is done; what DVC will write about it is noted, to know it again in `dvc.lock`."""
        for needed in (self.metrics, self.output / folder.INDEX, *([self.curve] if self.stage.curve else [])):
            if not needed.is_file():
                raise FileNotFoundError(f"pipelines/{self.stage.name}.py ended without writing {needed.name}")
            folder.flush(needed)
        folder.flush(self.output)
        folder.write(self._marker, folder.canonical(self._expected()))

    def discard(self) -> None:
        """Keep nothing of this work."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def promote(self) -> None:
        """Put the result where `dvc.yaml` says, replacing what lies there."""
        stage = self.stage
        partial, gone = (stage.output.with_name(f".{stage.output.name}.{word}") for word in ("partial", "gone"))
        shutil.rmtree(partial, ignore_errors=True)
        try:
            shutil.copytree(self.output, partial, copy_function=copy)
            folder.flush(partial)
            shutil.rmtree(gone, ignore_errors=True)
            if stage.output.exists():
                stage.output.rename(gone)  # half of one that goes must not look like one
            folder.move(partial, stage.output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(gone, ignore_errors=True)
        for source, target in ((self.metrics, stage.metrics), (self.curve, stage.curve)):
            if target:
                folder.write(target, source.read_text(encoding="utf-8"))

    def recorded(self, lock: dict[str, Any]) -> bool:
        """Whether `dvc.lock` has this result: the same plan went in, the same metrics, curve and folder came out."""
        entry = lock.get(self.stage.name, {})
        listed = {item["path"]: item for key in ("deps", "outs") for item in entry.get(key, [])}
        try:
            expected = json.loads(self._marker.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return all(facts.items() <= listed.get(path, {}).items() for path, facts in expected.items())

    @property
    def is_cached(self) -> bool:
        """Whether DVC's cache has what `dvc.lock` says of the stage's output."""
        from pipelines.dagster_dvc import graph

        listed = document.read(paths.LOCK).data["stages"][self.stage.name]["outs"]
        with graph.repository(".") as repo:
            return all(Archive(repo).has(item.get("md5")) for item in listed)

    @contextmanager
    def held(self) -> Iterator[None]:
        """This work is done by one process at a time. A Refusal names the other where it works in this very folder;
        one in another, an experiment's copy or the project itself, is waited for."""
        path, said = self.folder / "lock", False
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(lock.held(path, self.stage.name))
                    break
                except lock.TakenError as other:
                    if other.folder in ("", str(Path.cwd())) and not paths.is_copy():
                        raise
                    if not said:
                        print(f"{other}. Until then this one waits.", file=sys.stderr, flush=True)
                    said = True
                    time.sleep(_LOOK_SECONDS)
            yield

    @property
    def is_free(self) -> bool:
        """Whether no other process is at this work."""
        try:
            with lock.held(self.folder / "lock", self.stage.name):
                return True
        except Refusal:
            return False

    def _expected(self) -> dict[str, dict[str, Any]]:
        files = [path for path in self.output.rglob("*") if path.is_file()]
        whole = {"size": sum(path.stat().st_size for path in files), "nfiles": len(files)}
        stage = self.stage
        found: dict[str, dict[str, Any]] = {str(stage.plan): {"md5": oid_of(stage.plan.read_bytes())}}
        found |= {str(stage.metrics): {"md5": oid_of(self.metrics.read_bytes())}, str(stage.output): whole}
        return found | ({str(stage.curve): {"md5": oid_of(self.curve.read_bytes())}} if stage.curve else {})


def works() -> Path:
    """Where all scratch is."""
    work = paths.OWN / "work"
    return paths.home() / work if paths.is_copy() else work


def tidy(own: Scratch) -> None:
    """Remove the scratch of every result that `dvc.lock` has; that of the work at hand only where the cache has it too:
    a clone's `dvc.lock` knows, from another machine, results that lie nowhere here but in scratch."""
    for done in spent():
        if (done != own or done.is_cached) and done.is_free:
            done.discard()


def spent() -> list[Scratch]:
    """The scratch of every result that `dvc.lock` has: nobody will ask for it again."""
    markers = sorted(works().glob("*/*/finished.json"))
    if not markers or not paths.LOCK.is_file():
        return []
    try:
        lock = document.read(paths.LOCK).data.get("stages", {})
    except Refusal:  # another dvc is just writing it, in place: the next stage will see it whole
        return []
    places = [marker.parent for marker in markers if marker.parent.parent.name in paths.stages()]
    known = [Scratch(paths.stage(place.parent.name), place.name) for place in places]
    return [scratch for scratch in known if scratch.recorded(lock)]


def copy(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """A file of its own with the same content; on file systems that can, the blocks are shared until one changes."""
    with open(source, "rb") as old, open(target, "wb") as new:
        try:
            fcntl.ioctl(new, _SHARE_BLOCKS, old.fileno())
        except OSError:
            shutil.copyfileobj(old, new, 1 << 20)
