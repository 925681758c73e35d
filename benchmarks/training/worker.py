"""One contender in a process of its own: `python -m benchmarks.training.worker NAME SETTING SHAPE`.

A line that comes in is a number of updates to make; what goes out is what they took, as JSON. A process each, so that
contenders need not share an environment, threads, compiled code or memory.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import islice

import psutil
import torch

from benchmarks.training.contenders import CONTENDERS
from benchmarks.training.shape import SHAPES


def main() -> None:
    """Make updates as told, until nothing more comes in."""
    name, setting, shape = sys.argv[1:]
    steps = CONTENDERS[name](SHAPES[shape], setting)
    for line in sys.stdin:
        start = time.perf_counter()
        losses = list(islice(steps, int(line)))
        _settle()
        told = {"seconds": time.perf_counter() - start, "loss_nats": losses[-1], "peak_bytes": _peak_bytes()}
        print(json.dumps(told), flush=True)


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_bytes() -> int:
    """Of the accelerator where there is one, of the process otherwise."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    memory = psutil.Process().memory_info()
    return getattr(memory, "peak_wset", memory.rss)


if __name__ == "__main__":
    main()
