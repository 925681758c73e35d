"""States of a training on its way, in a scratch folder: the newest whole one is where a killed training goes on.

A state is written beside its place, flushed to the disk and then renamed, so that at every moment of a crash the newest
one in place is whole. Two are kept. Nothing is pickled: numbers as safetensors, facts as JSON.
"""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmmodel import folder
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 2
_TENSORS, _PARTIAL = "state.safetensors", ".partial"


def save(scratch: Path, step: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Keep the state after `step` steps; older states than the last `KEPT` go. A Refusal where there is no room."""
    place, partial = scratch / f"step-{step:010d}", scratch / _PARTIAL
    if place.is_dir():
        return
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, tensors, facts)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)  # a full disk has better uses for it
        if error.errno not in folder.NO_ROOM:
            raise
        kept = states(scratch)
        last = f"{kept[-1].name} is kept, and it goes on from there" if kept else "none was kept before it"
        raise Refusal(
            f"{scratch}: the disk is full: there is no room for the state after step {step:,}; {last}"
        ) from None
    folder.move(partial, place)
    for old in states(scratch)[:-KEPT]:
        old.rename(partial)  # half of one that goes must not look like one
        shutil.rmtree(partial)


def _write(place: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """A sealed state, on the disk when this is done; OSError, whatever writes."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    place.mkdir(parents=True)
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, place / _TENSORS)
    except SafetensorError as error:  # its I/O errors say their number in words only
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(place / _TENSORS)) from None
    folder.seal(place, {"facts": facts})
    folder.flush(place)


def latest(scratch: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest state, or None where there is none; a Refusal names the file that is not what was written."""
    from safetensors.torch import load_file

    found = states(scratch)
    if not found:
        return None
    try:
        index = folder.verify(found[-1])
    except Refusal as refusal:
        told = str(refusal).partition(";")[0]
        raise Refusal(f"{told}.\nRemove {found[-1]}, and the training goes on from the state before it") from None
    return load_file(found[-1] / _TENSORS), index["facts"]


def states(scratch: Path) -> list[Path]:
    """The states in `scratch`, the oldest first."""
    return sorted(scratch.glob("step-*"))
