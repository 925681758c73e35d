"""States of a training on its way, in a scratch folder: the newest whole one is where a killed training goes on.

A state is written beside its place, flushed to the disk and then renamed, so that at every moment of a crash the newest
one in place is whole. Two are kept. Nothing is pickled: numbers as safetensors, facts as JSON.
"""

from __future__ import annotations

import os
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
    """Keep the state after `step` steps; older states than the last `KEPT` go."""
    from safetensors.torch import save_file

    place, partial = scratch / f"step-{step:010d}", scratch / _PARTIAL
    if place.is_dir():
        return
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / _TENSORS)
        folder.seal(partial, {"facts": facts})
        for path in (*partial.iterdir(), partial):
            _flush(path)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)  # a full disk has better uses for it
        raise
    partial.rename(place)
    _flush(scratch)
    for old in states(scratch)[:-KEPT]:
        shutil.rmtree(old)


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


def _flush(path: Path) -> None:
    """Have the disk hold what was written to a file, or a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
