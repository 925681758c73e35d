"""Trains in children that are killed at random moments, until one gets to its end: `killed.py FOLDER SEED`.

Run as a program of its own: it forks before any thread is started, so torch is imported once for all attempts.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lmmodel.learning import saving
from tests.learning import small


def train(scratch: Path) -> None:
    told = small.section(budget={"tokens": 20 * small.ROWS * small.CONTEXT}, validate={"times": 10, "tokens": 160})
    training = small.training(scratch, told=told, save_seconds=0)
    for _ in training.run():
        pass
    (scratch / "rows.json").write_text(json.dumps(training.rows, sort_keys=True), encoding="utf-8")


def attempt(scratch: Path, seconds: float) -> bool:
    """Whether a child that is killed after `seconds` was done before."""
    child = os.fork()
    if not child:
        train(scratch)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def main(folder: Path, seed: int) -> None:
    draw = random.Random(seed)
    began = time.perf_counter()
    train(folder / "unbroken")
    whole = time.perf_counter() - began
    kills = 0
    while not attempt(folder / "killed", draw.uniform(0, whole / 3) if kills < 8 else 20 * whole):
        kills += 1
    unbroken, killed = folder / "unbroken", folder / "killed"
    assert (unbroken / "rows.json").read_bytes() == (killed / "rows.json").read_bytes()
    states = [saving.states(scratch)[-1] / "state.safetensors" for scratch in (unbroken, killed)]
    assert states[0].read_bytes() == states[1].read_bytes()
    print(f"killed {kills} times")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
