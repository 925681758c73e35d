"""Tensors of which each process holds a part, in one folder, by torch's distributed checkpoint.

Every process writes a file of its own, and any number of them read it again, each what it asks for. Its list of what is
where is a pickle: it stays in the scratch of the project that wrote it, and is sealed there as every state is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lmmodel.learning.crew import ALONE, Crew

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LIST = ".metadata"
Template = Callable[[str, "torch.Size", "torch.dtype"], "Tensor | None"]
"""Of a tensor's name, whole size and type: what to read it into, which may be a part of it; None: it is not wanted."""


def wrote(place: Path) -> bool:
    """Whether what is in `place` was written so."""
    return (place / _LIST).is_file()


def write(place: Path, tensors: dict[str, Tensor], crew: Crew) -> None:
    """This process's part, while the others write theirs; OSError where one could not."""
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        with crew.reached():
            checkpoint.save(tensors, storage_writer=checkpoint.FileSystemWriter(place, sync_files=True))
    except CheckpointException as error:
        raise _cause(error) from None


def read(place: Path, template: Template | None = None, crew: Crew = ALONE) -> dict[str, Tensor]:
    """What the template wants of what is in `place`; all, whole, where there is none. On the processor."""
    import torch
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    reader = checkpoint.FileSystemReader(place)
    found = {}
    for name, kept in reader.read_metadata().state_dict_metadata.items():
        assert isinstance(kept, TensorStorageMetadata)
        told = (kept.size, kept.properties.dtype)
        wanted = torch.empty(told[0], dtype=told[1]) if template is None else template(name, *told)
        if wanted is not None:
            found[name] = wanted
    try:
        with crew.reached(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            checkpoint.load(found, storage_reader=reader, no_dist=crew.size == 1 or template is None)
    except CheckpointException as error:
        raise _cause(error) from None
    return {name: getattr(one, "to_local", lambda one=one: one)() for name, one in found.items()}


def _cause(error: BaseException) -> OSError:
    """What went wrong in the first process in which something did."""
    failures = getattr(error, "failures", {})
    for failure, _ in failures.values():
        reason = failure
        while reason is not None:
            if isinstance(reason, OSError):
                return reason
            reason = reason.__cause__ or reason.__context__
    return OSError(str(error))
