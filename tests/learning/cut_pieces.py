"""Two processes keep a state of a model in pieces, cut off at each file operation of one: `cut_pieces.py FOLDER RANK`.

The power goes for both at once: process RANK ends at its first file operation, its second, and so on, and the other one
with it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed.checkpoint
import torch.distributed.fsdp
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lmmodel.learning import dcp, saving
from lmmodel.learning.crew import Crew
from lmmodel.learning.settings import LAST_TWO
from lmmodel.learning.sharded import Sharded
from tests.learning import small
from tests.power_cut import cuts

_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def kept(scratch: Path, rank: int, *steps: int) -> None:
    """Read the newest state, and keep those after `steps`: as process `rank`, with another one beside this."""
    store = scratch.with_name(f"store-{os.getpid()}")
    other = os.fork()
    if not other:
        library = ctypes.CDLL(None)
        library.prctl(_END_WITH_PARENT, signal.SIGKILL)
        library.spare()
    own = rank if other else 1 - rank
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=own, world_size=2)
    _keep(scratch, Crew(own, 2), steps)
    torch.distributed.destroy_process_group()
    if not other:
        os._exit(0)
    assert os.waitpid(other, 0)[1] == 0
    store.unlink(missing_ok=True)


def _keep(scratch: Path, crew: Crew, steps: tuple[int, ...]) -> None:
    """What only its owner has, as Muon's matrices, and what each has rows of."""
    told = {"precision": "float32", "device": "cpu", "piecemeal": ("embedding", "vector")}
    weights = Sharded(small.model(), crew=crew, **told)
    states = saving.of(scratch, LAST_TWO, crew, weights)
    with states.held():
        states.latest()
        for step in steps:
            tensors = {f"weights/{name}": master + step for name, master in weights.masters.items()}
            states.save(step, tensors, {"step": step})


def apart(work: Callable[[], None]) -> None:
    """Done in a child, so that nothing of it is left in this process."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def newest(scratch: Path, began: dict[str, Tensor]) -> int:
    """The step of the newest state, in which every number is what was kept."""
    place, facts = saving.newest(scratch) or (Path(), {})
    found = {path.removeprefix("weights/"): tensor for path, tensor in dcp.read(place).items()}
    assert found.keys() == began.keys()
    assert all(torch.equal(found[name], tensor + facts["step"]) for name, tensor in began.items())
    return int(facts["step"])


def main(folder: Path, rank: int) -> None:
    before, scratch = folder / "before", folder / "scratch"
    began = {name: parameter.detach() for name, parameter in small.model().named_parameters()}
    apart(lambda: kept(before, rank, 1, 2))
    found = []
    for number in cuts(scratch, before, lambda: kept(scratch, rank, 3)):
        found.append(newest(scratch, began))
        apart(lambda: kept(scratch, rank, 4))
        assert newest(scratch, began) == 4, f"cut {number}"
    assert found == sorted(found)
    assert set(found) == {2, 3}
    print(f"{len(found)} cuts")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
