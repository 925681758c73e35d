"""What the health monitor costs: looks at an update and at some rows of text, against the steps between two of them.

python -m benchmarks.health              the training that params.yaml describes, on random tokens, not compiled
python -m benchmarks.health --compiled   its step compiled, as it is by default: a shorter step for the same look
python -m benchmarks.health --json       the same as data

Processor time (OMP_NUM_THREADS=1), so that it can be read on a machine that others use meanwhile. Every second step is
looked at, and each look is set against the step before it: looks and steps take turns. A look is made once a
validation, so its share is that of as many steps as params.yaml has between two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import Tensor

from lmmodel.architecture.model import build
from lmmodel.learning.health import Health
from lmmodel.learning.plan import Plan, Work, decide
from lmmodel.learning.reports import Stepped
from lmmodel.learning.training import Training
from lmmodel.text.batches import TokenBatch
from pipelines import parameters

LOOKS = 9
EPOCH_TOKENS = 1_000_000
"""That there would be, where a budget counts epochs."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--looks", type=int, default=LOOKS, help=f"how many ({LOOKS})")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    figures = measured(told.looks, compiled=told.compiled)
    if told.json:
        print(json.dumps(figures, indent=1))
        return
    for name, value in figures.items():
        print(f"{name:36}{value:12.6f}")


def measured(looks: int, *, compiled: bool) -> dict[str, float]:
    """Seconds of a look and of a step, medians; the share of a look, with its quartiles."""
    with TemporaryDirectory() as scratch:
        training, between = prepared(looks, Path(scratch), compiled=compiled)
        training.health = timed = Timed(training.health)
        steps = list(_steps(training))
    shares = [look / step / between for look, step in zip(timed.seconds, steps, strict=True)]
    low, middle, high = statistics.quantiles(shares, n=4)
    return {
        "seconds a look": statistics.median(timed.seconds),
        "seconds a step": statistics.median(steps),
        "steps a look": between,
        "share": middle,
        "low": low,
        "high": high,
    }


def prepared(looks: int, scratch: Path, *, compiled: bool) -> tuple[Training, float]:
    """A training whose every second step is looked at; steps between two looks as params.yaml has them."""
    given = parameters.read()
    section = given.sections["pretrain"]
    work = Work.of(given.declaration, tokens_per_epoch=EPOCH_TOKENS)
    plan = decide(section, given.launch, work)  # type: ignore[arg-type]
    between = plan.steps / len(plan.validations)
    few = replace(plan, steps=2 * looks, validations=tuple(range(2, 2 * looks + 1, 2)), cuts=(), compiled=compiled)
    lengths = np.ones(given.declaration.vocab_size, dtype=np.int64)
    training = Training(
        build(given.declaration, seed=0),
        Random(few, given.declaration.vocab_size),
        plan=few,
        section=section,  # type: ignore[arg-type]
        seed=0,
        byte_lengths_V=lengths,
        scratch=scratch,
        save_seconds=float("inf"),
    )
    return training, between


def _steps(training: Training) -> Iterator[float]:
    """The processor's seconds of each step that is not looked at."""
    began = time.process_time()
    for report in training.run():
        if isinstance(report, Stepped) and report.step % 2:
            yield time.process_time() - began
        began = time.process_time()


class Timed(Health):
    """Another one's figures, and the processor's `seconds` that each look took: before, after, and at the text."""

    def __init__(self, other: Health) -> None:
        self._other = other
        self.seconds: list[float] = []

    def before(self) -> None:
        """A look begins."""
        self.seconds.append(0.0)
        with self._clock():
            self._other.before()

    def after(self) -> None:
        """It goes on."""
        with self._clock():
            self._other.after()

    def probe(self, tokens_BT: Tensor, documents_BT: Tensor | None) -> dict[str, float]:
        """It ends."""
        with self._clock():
            return self._other.probe(tokens_BT, documents_BT)

    @contextmanager
    def _clock(self) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[-1] += time.process_time() - began


class Random:
    """Batches of tokens that mean nothing: a step takes as long. One part of a batch to validate with."""

    def __init__(self, plan: Plan, vocab_size: int) -> None:
        self._plan, self._vocab_size, self.tokens_per_epoch = plan, vocab_size, EPOCH_TOKENS

    def batch(self, step: int) -> TokenBatch:
        """Rows of random tokens."""
        return self._drawn(step, self._plan.sequences)

    def validation(self, tokens: int) -> Iterator[TokenBatch]:
        """As few as can be."""
        yield self._drawn(-1, self._plan.micro_sequences)

    def _drawn(self, seed: int, rows: int) -> TokenBatch:
        draw = np.random.default_rng(seed % 2**32)
        drawn = draw.integers(0, self._vocab_size, (rows, self._plan.context + 1), dtype=np.int64)
        return TokenBatch(drawn[:, :-1], drawn[:, 1:], None, None)


if __name__ == "__main__":
    main()
