"""A GPU for each training: whoever takes one holds its lock, and the next takes another, or waits.

Only which of several like devices is used is decided here, before torch looks for any: never what is computed. Locks
are files for all projects of a person on a machine; they end with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lmmodel.learning.settings import Launch
from pipelines.parameters import JUDGE, SEEDED

VISIBLE = "CUDA_VISIBLE_DEVICES"
_LOOK_SECONDS = 1.0


@contextmanager
def claimed(stage: str, launch: Launch) -> Iterator[None]:
    """As many GPUs as `stage` has processes, for itself alone; nothing where there are none, or where it needs none.

    Waits where too few are free, and says so. A torchrun that was started by hand has chosen for itself.
    """
    needs = stage in SEEDED and launch.device in ("auto", "cuda") and "RANK" not in os.environ
    there = gpus() if needs else []
    if not there:
        yield
        return
    before = os.environ.get(VISIBLE)
    with ExitStack() as locks:
        processes = 1 if stage == JUDGE else launch.processes  # however many have trained what it judges
        os.environ[VISIBLE] = ",".join(_taken(stage, there, min(processes, len(there)), locks))
        try:
            yield
        finally:
            os.environ.pop(VISIBLE)
            if before is not None:
                os.environ[VISIBLE] = before


def gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them. Found without torch."""
    told = os.environ.get(VISIBLE)
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip() not in ("", "-1")]
    found = Path("/dev").glob("nvidia[0-9]*")  # in a container the only one may be called nvidia3; CUDA counts from 0
    return [str(number) for number, _ in enumerate(found)]


def _taken(stage: str, there: list[str], wanted: int, locks: ExitStack) -> list[str]:
    """All that are wanted or none: two that wait for one another's would wait for ever."""
    said = False
    while True:
        with ExitStack() as tried:
            taken: list[str] = []
            for name in there:
                if len(taken) < wanted and _try(name, tried):
                    taken.append(name)
            if len(taken) == wanted:
                locks.enter_context(tried.pop_all())
                return taken
        if not said:
            print(f"{stage}: waiting for {wanted} of the GPUs {', '.join(there)}", file=sys.stderr, flush=True)
            said = True
        time.sleep(_LOOK_SECONDS)


def _try(name: str, tried: ExitStack) -> bool:
    folder = Path(tempfile.gettempdir()) / f"lmmodel-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    file = (folder / f"gpu-{name}").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    tried.enter_context(file)
    return True
