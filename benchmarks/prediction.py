"""Whether the pace that `lmmodel design` predicts is the pace that a training has, on this machine.

python -m benchmarks.prediction            three designs that were not used to measure the machine
python -m benchmarks.prediction --json     the same as data

Machine and designs are timed in turn, round by round, so that what else the machine does falls on all of them alike.
--busy counts the processor's seconds instead of the clock's, with one thread (OMP_NUM_THREADS=1): for a machine that
others use meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lmmodel.learning import plan
from lmmodel.learning.outlook import Outlook, fitted
from lmmodel.learning.rehearsal import rehearse
from pipelines import pace, parameters

ROUNDS = 3
Clock = Callable[[], float]
DESIGNS: dict[str, tuple[dict[str, Any], int, int]] = {
    "the default": ({"width": 256, "depth": 6, "heads": 4, "context": 256}, 16, 8),
    "gpt2, narrow and long": ({"width": 192, "depth": 3, "heads": 3, "context": 512, "design": "gpt2"}, 4, 2),
    "llama3, wide": ({"width": 512, "depth": 3, "heads": 8, "context": 128, "design": "llama3"}, 16, 16),
}
"""Sizes and design, rows of a batch, rows at once."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--busy", action="store_true")
    told = parser.parse_args()
    figures = measured(time.process_time if told.busy else time.perf_counter)
    if told.json:
        print(json.dumps(figures, indent=1))
        return
    print(f"{'tokens/s':32}{'predicted':>12}{'measured':>12}{'off by':>10}")
    for name, one in figures.items():
        off = f"{one['predicted'] / one['measured'] - 1:+.0%}"
        print(f"{name:32}{one['predicted']:12,.0f}{one['measured']:12,.0f}{off:>10}")


def measured(clock: Clock) -> dict[str, dict[str, float]]:
    """Tokens a second, predicted and measured, for each design: the medians of some rounds."""
    given = parameters.read()
    section: Any = given.sections["pretrain"]
    work = plan.Work(10**6, 6e6, given.declaration.context, tokens_per_epoch=10**9)
    decided = replace(plan.decide(section, given.launch, work), compiled=False)
    rounds = [_round(section, decided, clock) for _ in range(ROUNDS)]
    return {
        name: {key: statistics.median(one[name][key] for one in rounds) for key in ("predicted", "measured")}
        for name in DESIGNS
    }


def _round(section: Any, decided: plan.Plan, clock: Clock) -> dict[str, dict[str, float]]:
    timed = []
    for shape, rows in pace.SHAPES.values():
        timed.append(
            (pace.work(shape, rows, decided, section), pace.seconds(shape, rows, decided, section, clock=clock))
        )
    rates, found = fitted(timed), {}
    for name, (shape, rows, at_once) in DESIGNS.items():
        declaration = pace.declared(shape)
        view = Outlook(*rehearse(declaration, section, precision=decided.precision, sequences=(1, 2)))
        tokens = rows * declaration.context
        seconds = pace.seconds(shape, rows, decided, section, at_once=at_once, clock=clock)
        found[name] = {"predicted": tokens / rates.seconds(view.step(rows, at_once)), "measured": tokens / seconds}
    return found


if __name__ == "__main__":
    main()
