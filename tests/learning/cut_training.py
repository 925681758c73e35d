"""A training cut off at each of its file operations, and taken up again: `cut_training.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lmmodel.learning import saving
from tests.learning import small
from tests.power_cut import cuts


def train(scratch: Path) -> None:
    """Three steps, each saved."""
    told = small.section(budget={"tokens": 3 * small.ROWS * small.CONTEXT}, validate={"times": 3, "tokens": 160})
    for _ in small.training(scratch, told=told, save_seconds=0).run():
        pass


def last(scratch: Path) -> tuple[str, list[bytes]]:
    """The newest state, byte for byte."""
    state = saving.states(scratch)[-1]
    return state.name, [path.read_bytes() for path in sorted(state.iterdir())]


def main(folder: Path) -> None:
    train(folder / "unbroken")
    wanted = last(folder / "unbroken")
    before, scratch = folder / "before", folder / "scratch"
    before.mkdir()
    found, step = [], 0
    for number in cuts(scratch, before, lambda: train(scratch)):
        state = saving.latest(scratch)
        now = 0 if state is None else state[1]["step"]
        assert now >= step, f"cut {number} left step {now}, and one before it {step}"
        step = now
        found.append(now)
        train(scratch)
        assert last(scratch) == wanted, f"cut {number}"
    assert set(found) == {0, 1, 2, 3}
    print(f"{len(found)} cuts")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
