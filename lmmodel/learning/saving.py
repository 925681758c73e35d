"""States of a training on its way, in a scratch folder: the newest whole one is where a killed training goes on.

A state is written beside its place, flushed to the disk and then renamed, so that at every moment of a crash the newest
one in place is whole. Which of the older ones stay is a rule. Numbers are safetensors, facts JSON; what processes with
a model in pieces write together, and never leaves their scratch, is torch's.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmmodel import folder, lock
from lmmodel.learning import dcp
from lmmodel.learning.crew import ALONE, Crew
from lmmodel.learning.settings import LAST_TWO, Keep
from lmmodel.learning.sharded import Sharded
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from torch import Tensor

    from lmmodel.learning.weights import Weights

_TENSORS, _PARTIAL = "state.safetensors", ".partial"


class States:
    """Those of one training in `scratch`: the crew's first process writes them, and reads them for all."""

    def __init__(self, scratch: Path, *, keep: Keep, crew: Crew = ALONE) -> None:
        self.scratch, self.keep, self.crew = scratch, keep, crew

    def held(self) -> AbstractContextManager[None]:
        """One training at a time in a scratch folder, in which the crew's first process alone decides."""
        return lock.held(self.scratch / "lock", str(self.scratch)) if self.crew.first else nullcontext()

    def due(self, step: int, best: int | None) -> bool:
        """Whether the rule wants the state after `step`; `best`: the step of the best validation so far."""
        return (self.keep.every is not None and step % self.keep.every == 0) or (self.keep.best and step == best)

    def save(self, step: int, tensors: dict[str, Tensor], facts: dict[str, Any], best: int | None = None) -> None:
        """Keep the state after `step` steps; those that the rule does not want any more go."""
        if self.crew.first:
            save(self.scratch, step, tensors, facts, keep=self.keep, best=best)

    def latest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest state, the same for all processes; None where there is none."""
        found = latest(self.scratch) if self.crew.first else None
        tensors, facts = self.crew.tensors(found and found[0]), self.crew.told(found and found[1])
        return None if tensors is None or facts is None else (tensors, facts)


class SharedStates(States):
    """Those of a training whose model is in pieces: each process writes and reads what it holds of them."""

    def __init__(self, scratch: Path, *, keep: Keep, crew: Crew, weights: Sharded) -> None:
        super().__init__(scratch, keep=keep, crew=crew)
        self.weights = weights

    def save(self, step: int, tensors: dict[str, Tensor], facts: dict[str, Any], best: int | None = None) -> None:
        """As one process does, together: all write into the state, and the first puts it in its place."""
        pieces = self.weights.pieces(tensors)
        if not self.crew.first:
            if (partial := self.crew.told(None)) is not None:
                with _room(self.scratch, step):
                    dcp.write(partial, pieces, self.crew)
        elif _place(self.scratch, step).is_dir():
            self.crew.told(None)
        else:
            with _written(self.scratch, step, facts) as partial:
                self.crew.told(partial)
                dcp.write(partial, pieces, self.crew)
            thin(self.scratch, self.keep, best)

    def latest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What this process holds of the newest state, whoever wrote it."""
        found = newest(self.scratch) if self.crew.first else None
        place, facts = self.crew.told(found) or (None, None)
        if place is None or facts is None:
            return None
        if dcp.wrote(place):
            return dcp.read(place, self.weights.template, self.crew), facts
        whole = self.crew.tensors(_read(place) if self.crew.first else None) or {}
        pieces = {path: self.weights.piece(path, tensor) for path, tensor in whole.items()}
        return {path: piece for path, piece in pieces.items() if piece is not None}, facts


def of(scratch: Path, keep: Keep, crew: Crew, weights: Weights) -> States:
    """The states of a training with `weights`."""
    if isinstance(weights, Sharded):
        return SharedStates(scratch, keep=keep, crew=crew, weights=weights)
    return States(scratch, keep=keep, crew=crew)


def save(
    scratch: Path,
    step: int,
    tensors: dict[str, Tensor],
    facts: dict[str, Any],
    *,
    keep: Keep = LAST_TWO,
    best: int | None = None,
) -> None:
    """Keep the state after `step` steps, and of the older ones those that `keep` wants; a Refusal: there is no room.

    best: the step of the best validation so far.
    """
    if _place(scratch, step).is_dir():
        return
    with _written(scratch, step, facts) as partial:
        _write(partial, tensors)
    thin(scratch, keep, best)


def kept(steps: Collection[int], keep: Keep, best: int | None = None) -> list[int]:
    """Which of the states after so many `steps` the rule wants, in their order; `best` is one that it may name."""
    ordered = sorted(steps)
    last, every = ordered[-keep.last :], keep.every
    return [s for s in ordered if s in last or (every and s % every == 0) or (keep.best and s == best)]


def thin(scratch: Path, keep: Keep, best: int | None = None) -> None:
    """Remove the states that the rule does not want."""
    places = {_step(place): place for place in states(scratch)}
    for step in places.keys() - kept(places, keep, best):
        places[step].rename(scratch / _PARTIAL)  # half of one that goes must not look like one
        shutil.rmtree(scratch / _PARTIAL)


@contextmanager
def _written(scratch: Path, step: int, facts: dict[str, Any]) -> Iterator[Path]:
    """Inside, a folder to write a state's numbers into; then it is whole, on the disk, and in its place."""
    partial = scratch / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _room(scratch, step):
            partial.mkdir(parents=True)
            yield partial
            folder.seal(partial, {"facts": facts})
            folder.flush(partial)
    except (OSError, Refusal):
        shutil.rmtree(partial, ignore_errors=True)  # a full disk has better uses for it
        raise
    folder.move(partial, _place(scratch, step))


@contextmanager
def _room(scratch: Path, step: int) -> Iterator[None]:
    """Inside, the state after `step` is written; a Refusal where there is no room for it."""
    try:
        yield
    except OSError as error:
        if error.errno not in folder.NO_ROOM:
            raise
        before = states(scratch)
        last = f"{before[-1].name} is kept, and it goes on from there" if before else "none was kept before it"
        raise Refusal(
            f"{scratch}: the disk is full: there is no room for the state after step {step:,}; {last}"
        ) from None


def _write(place: Path, tensors: dict[str, Tensor]) -> None:
    """All numbers in one file; OSError, whatever writes."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, place / _TENSORS)
    except SafetensorError as error:  # its I/O errors say their number in words only
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(place / _TENSORS)) from None


def latest(scratch: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest state, or None where there is none; a Refusal names the file that is not what was written."""
    found = newest(scratch)
    return None if found is None else (_read(found[0]), found[1])


def newest(scratch: Path) -> tuple[Path, dict[str, Any]] | None:
    """Where the newest state is, after every file of it was found whole, and its facts."""
    found = states(scratch)
    if not found:
        return None
    try:
        index = folder.verify(found[-1])
    except Refusal as refusal:
        told = str(refusal).partition(";")[0]
        raise Refusal(f"{told}.\nRemove {found[-1]}, and the training goes on from the state before it") from None
    return found[-1], index["facts"]


def _read(place: Path) -> dict[str, Tensor]:
    """All numbers of a state, whole, whoever wrote it."""
    from safetensors.torch import load_file

    return dcp.read(place) if dcp.wrote(place) else load_file(place / _TENSORS)


def states(scratch: Path) -> list[Path]:
    """The states in `scratch`, the oldest first."""
    return sorted(scratch.glob("step-*"))


def _place(scratch: Path, step: int) -> Path:
    return scratch / f"step-{step:010d}"


def _step(place: Path) -> int:
    return int(place.name.removeprefix("step-"))
