"""How fast this project trains, beside what a user would pick instead, on this machine.

python -m benchmarks.training                          the engine, its bare products, and the peers that are here
python -m benchmarks.training --peers PYTHON           peers from another environment, by its interpreter
python -m benchmarks.training --shape S --repeats 7    another shape (S, S-plain, gpt2-124m, llama-1b), more rounds
python -m benchmarks.training --float32                as on a processor that does not compute in bfloat16
python -m benchmarks.training --json                   the same as data

Everybody trains the same shape on the same tokens: AdamW, clipping, the same micro-batches. Each in a process of its
own, taking turns, one update at a time, so that what else the machine does falls on all alike; medians of the rounds.
Peers (PyPI: transformers, litgpt, x-transformers) run in their documented default and in their best setting.
litgpt wants an older numpy than this project, so peers have an environment of their own: `make peers` makes it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.training.shape import SHAPES, Shape
from lmmodel.learning import machine

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("transformers", "litgpt", "x_transformers")
OWN = ("lmmodel", "products")
WARM_UP = 2
FOR_GPUS = ("gpt2-124m", "llama-1b")
NO_GPU = "is for a GPU, and torch finds none here"


@dataclass
class Runner:
    """A contender under way, and the seconds that its updates took."""

    name: str
    setting: str
    process: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    error: str = ""

    @property
    def title(self) -> str:
        """What it is called in the table."""
        return f"{self.name} {self.setting}"

    def turn(self, updates: int, *, counts: bool) -> None:
        """Let it make some updates."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(updates, file=self.process.stdin, flush=True)
            told = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, ValueError):
            self.process.wait()
            lines = self.process.stderr.read().strip().splitlines() if self.process.stderr else []
            self.error = lines[-1] if lines else f"ended with {self.process.returncode}"
            return
        self.peak_bytes = told["peak_bytes"]
        if counts:
            self.seconds.append(told["seconds"] / updates)


@contextmanager
def started(python: str, name: str, setting: str, shape: str) -> Iterator[Runner]:
    """A contender's process, ended with the block."""
    command = [python, "-m", "benchmarks.training.worker", name, setting, shape]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield Runner(name, setting, process)
        finally:
            process.kill()


def measured(shape: Shape, *, repeats: int, peers: str, best: str) -> dict[str, Any]:
    """Median seconds of an update of everybody who runs here, and the ratios that follow. best: the fastest setting."""
    wanted = [(sys.executable, name, best) for name in OWN]
    wanted += [(peers, name, setting) for name in PEERS for setting in ("default", best)]
    with ExitStack() as stack:
        runners = [stack.enter_context(started(python, name, how, shape.name)) for python, name, how in wanted]
        for runner in runners:  # compiling too takes turns
            runner.turn(WARM_UP, counts=False)
        for _ in range(repeats):
            for runner in runners:
                if not runner.error:
                    runner.turn(1, counts=True)
        return figures(shape, runners, best)


def figures(shape: Shape, runners: list[Runner], best: str) -> dict[str, Any]:
    """What was measured, as data."""
    ran = {runner.title: statistics.median(runner.seconds) for runner in runners if not runner.error}
    own = ran[f"lmmodel {best}"]
    fast, slow = (
        [ran[f"{name} {setting}"] for name in PEERS if f"{name} {setting}" in ran] for setting in (best, "default")
    )
    told: dict[str, Any] = {
        "shape": shape.name,
        "tokens_per_second": {title: shape.batch_tokens / seconds for title, seconds in ran.items()},
        "spread": {runner.title: _spread(runner.seconds) for runner in runners if not runner.error},
        "peak_bytes": {runner.title: runner.peak_bytes for runner in runners if not runner.error},
        "flops_per_second": shape.flops_per_token * shape.batch_tokens / own,
        "fraction_of_matmul": ran[f"products {best}"] / own,
        "ratio_to_best_peer": min(fast) / own if fast else None,
        "ratio_to_default": max(slow) / own if slow else None,
        "not_here": {runner.title: runner.error for runner in runners if runner.error},
        "cores": os.cpu_count(),
    }
    return told


def _spread(seconds: list[float]) -> float:
    """Half of what the middle half of the rounds spans, as a share of the median."""
    low, middle, high = statistics.quantiles(seconds, n=4)
    return (high - low) / 2 / middle


def table(told: dict[str, Any]) -> str:
    """The figures for reading."""
    lines = [f"shape {told['shape']}, {told['cores']} cores, median of alternating updates", ""]
    lines += [f"{'':24}{'tokens/s':>10}{'spread':>9}{'peak memory':>14}"]
    for title, speed in sorted(told["tokens_per_second"].items(), key=lambda item: -item[1]):
        memory = f"{told['peak_bytes'][title] / 1e6:,.0f} MB"
        lines.append(f"{title:24}{speed:>10,.0f}{told['spread'][title]:>8.1%} {memory:>13}")
    lines.append("")
    for key in ("fraction_of_matmul", "ratio_to_best_peer", "ratio_to_default"):
        lines.append(f"{key:24}{'-' if told[key] is None else f'{told[key]:.2f}':>10}")
    lines += [f"{title}: not here ({error})" for title, error in told["not_here"].items()]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="S")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peers", default=_peers(), help="the interpreter of the environment that has the peers")
    parser.add_argument("--float32", action="store_true", help="nobody computes in bfloat16")
    parser.add_argument("--json", action="store_true", help="print data")
    asked = parser.parse_args()
    if asked.shape in FOR_GPUS and not torch.cuda.is_available():
        print(json.dumps({"skipped": NO_GPU}) if asked.json else f"shape {asked.shape}: {NO_GPU}")
        return
    best = "float32" if asked.float32 else machine.precision("auto", machine.device("auto"))
    told = measured(SHAPES[asked.shape], repeats=asked.repeats, peers=asked.peers, best=best)
    print(json.dumps(told, indent=1) if asked.json else table(told))


def _peers() -> str:
    own = ROOT / ".venv-peers" / "bin" / "python"
    return str(own) if own.is_file() else sys.executable


if __name__ == "__main__":
    main()
