"""Trains in children that are killed at random moments, until one gets to its end: `killed.py FOLDER SEED [SEED ...]`.

Run as a program of its own: it forks before any thread is started, so torch is imported once for all attempts. The
model draws noise in every step, so that its weights tell whether the random numbers were the same.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from itertools import product
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lmmodel.learning import curve, saving
from lmmodel.learning.reports import Stepped
from tests.learning import small

MOST_KILLS = 8
WAYS = tuple(product(("autocast", "bfloat16", "float32"), ("muon", "adamw")))
"""Precision and optimizer; a seed takes the next."""


def train(scratch: Path, way: tuple[str, str]) -> None:
    told = small.section(
        budget={"tokens": 20 * small.ROWS * small.CONTEXT},
        validate={"times": 10, "tokens": 160},
        optimizer=way[1],
        precision=way[0],
    )
    model = small.model()
    model.layers[0].register_forward_hook(lambda module, given, out: out + 0.01 * torch.randn_like(out))
    training = small.training(scratch, told=told, model=model, save_seconds=0)
    for report in training.run():
        if isinstance(report, Stepped):
            (scratch / "random").write_bytes(torch.get_rng_state().numpy().tobytes())
    curve.write(scratch / "curve.csv", training.rows)


def attempt(scratch: Path, way: tuple[str, str], seconds: float) -> bool:
    """Whether a child that is killed after `seconds` was done before."""
    child = os.fork()
    if not child:
        train(scratch, way)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def left(scratch: Path) -> dict[str, bytes]:
    """Every byte of the last state (weights, optimizer, where it stands), the random state and the curve."""
    files = [*saving.states(scratch)[-1].iterdir(), scratch / "random", scratch / "curve.csv"]
    return {path.name: path.read_bytes() for path in files}


def main(folder: Path, seeds: list[int]) -> None:
    wanted: dict[tuple[str, str], dict[str, bytes]] = {}
    kills = []
    for seed in seeds:
        draw, way = random.Random(seed), WAYS[seed % len(WAYS)]
        began = time.perf_counter()
        if way not in wanted:
            train(folder / "-".join(way), way)
            wanted[way] = left(folder / "-".join(way))
            whole = time.perf_counter() - began
        scratch, most = folder / str(seed), draw.randint(1, MOST_KILLS)
        scratch.mkdir()
        count = 0
        while not attempt(scratch, way, draw.uniform(0, whole / 4) if count < most else 20 * whole):
            count += 1
        found = left(scratch)
        assert found.keys() == wanted[way].keys()
        assert not [name for name in found if found[name] != wanted[way][name]], f"seed {seed}, killed {count} times"
        kills.append(count)
    print("killed", *kills, "times")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]])
