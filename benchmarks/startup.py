"""How long it takes from `python -m pipelines.pretrain` to the end of its first step, without compiling.

python -m benchmarks.startup            in a clone in a temporary folder; the best of five
python -m benchmarks.startup --json     the same as data

Two clocks, both from the start of the process: the wall's, and what the processor spent on it. While others use the
machine only the second says something.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--first", action="store_true", help="the process that is measured")
    told = parser.parse_args()
    if told.first:
        _first()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "clone"
        prepare(folder)
        found = [measured(folder) for _ in range(REPEATS)]
    figures = {key: min(one[key] for one in found) for key in found[0]}
    if told.json:
        print(json.dumps(figures, indent=1))
        return
    wall, processor = figures["seconds"], figures["processor_seconds"]
    print(f"to the end of the first step: {wall:.2f} s, of the processor {processor:.2f} s")


def prepare(folder: Path) -> None:
    """A clone with everything that pretraining reads, told not to compile."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    params = folder / "params.yaml"
    params.write_text(re.sub(r"(?m)^  compile: auto\b", "  compile: false", params.read_text()))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["dvc", "repro", "--quiet", "shards"], cwd=folder, check=True, env=environment, capture_output=True)


def measured(folder: Path) -> dict[str, float]:
    """Seconds of a process that pretrains in `folder` and leaves after its first step."""
    command = [sys.executable, "-m", "benchmarks.startup", "--first"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _first() -> None:
    from lmmodel.learning.training import Training

    advance = Training._advance

    def once(training: Training, pace: Any) -> Any:
        advance(training, pace)
        own = psutil.Process()
        spent = own.cpu_times()
        told = {"seconds": time.time() - own.create_time(), "processor_seconds": spent.user + spent.system}
        print(json.dumps(told), flush=True)
        os._exit(0)  # nothing is kept

    Training._advance = once  # type: ignore[method-assign]
    sys.argv = sys.argv[:1]
    runpy.run_module("pipelines.pretrain", run_name="__main__")


if __name__ == "__main__":
    main()
