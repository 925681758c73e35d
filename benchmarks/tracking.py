"""What following a training in MLflow costs, in seconds of the processor: noting points, and carrying them.

python -m benchmarks.tracking                 a step that notes its point over one that does not; the carrier by itself
python -m benchmarks.tracking --seconds 120   the carrier followed for so long
python -m benchmarks.tracking --json          the same as data

Processor time, so that it can be read on a machine that others use meanwhile (OMP_NUM_THREADS=1). The steps are those
of the model in params.yaml, in alternating pairs, without an optimizer. The carrier begins with importing MLflow, and
with making a database where there is none; it takes one point a second, and watches the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmmodel import build, load_declaration
from pipelines.tracking.notes import Writer, begin

ROWS, PAIRS = 8, 31
POINT = dict.fromkeys(("loss_nats", "tokens", "learning_rate", "gradient_norm", "tokens_per_second"), 1.234)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="that the carrier is followed (60)")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    figures = {**noting(told.pairs), **carrying(told.seconds)}
    if told.json:
        print(json.dumps(figures, indent=1))
        return
    for name, value in figures.items():
        print(f"{name:36}{value:12.6f}")


def noting(pairs: int) -> dict[str, float]:
    """Forward and backward with a point noted over the same without; and a note by itself."""
    declaration = load_declaration("params.yaml")
    model = build(declaration, seed=1)
    tokens_BT = torch.randint(declaration.vocab_size, (ROWS, declaration.context + 1))
    ratios, alone = [], []
    with tempfile.TemporaryDirectory() as folder:
        notes = begin(Path(folder), "steps")
        _step(model, tokens_BT, None)
        for number in range(pairs):
            took: dict[bool, float] = {}
            for noted in (True, False) if number % 2 else (False, True):
                took[noted] = _step(model, tokens_BT, notes if noted else None)
            ratios.append(took[True] / took[False])
            began = time.process_time()
            notes.add(metrics=POINT, step=number)
            alone.append(time.process_time() - began)
        notes.close()
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"noted / not": middle, "low": low, "high": high, "seconds a note": statistics.median(alone)}


def _step(model: nn.Module, tokens_BT: Tensor, notes: Writer | None) -> float:
    """The processor's seconds of one forward and backward pass, and of its point."""
    began = time.process_time()
    model.zero_grad()
    logits_BTV = model(tokens_BT[:, :-1])
    F.cross_entropy(logits_BTV.flatten(0, 1).float(), tokens_BT[:, 1:].flatten()).backward()
    if notes:
        notes.add(metrics=POINT, step=0)
    return time.process_time() - began


def carrying(seconds: int) -> dict[str, float]:
    """The processor's seconds of the carrier: to begin and end, and for each second that it follows."""
    with tempfile.TemporaryDirectory() as folder:
        first, short, long = (_carrier(folder, number, of) for number, of in enumerate((2, 2, 2 + seconds)))
    return {
        "carrier that makes the database": first,
        "carrier, to begin and end": short,
        "carrier, each second after": (long - short) / seconds,
    }


def _carrier(folder: str, number: int, seconds: int) -> float:
    """Of one that follows the run called `number` for so many seconds."""
    notes = begin(Path(folder, ".lmmodel/tracking"), f"pretrain-{number}")
    told: dict[str, Any] = {"stage": "pretrain", "identity": f"{number:032}", "candidate": None, "name": str(number)}
    notes.add(begin={**told, "parameters": {"seed": "1"}, "tags": {}, "data": [], "design": {}})
    command = [sys.executable, "-m", "pipelines.tracking.delivery", str(notes.folder), str(os.getpid())]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    environment.pop("MLFLOW_TRACKING_URI", None)
    before = _children()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as carrier:
        for step in range(seconds):
            notes.add(metrics=POINT, step=step)
            time.sleep(1)
        notes.add(end="FINISHED")
        notes.close()
        carrier.wait()
    return _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
