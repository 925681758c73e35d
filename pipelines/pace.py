"""How fast this machine trains: real steps of a few small designs, timed once and remembered under `.lmmodel/`.

From them come three rates (`lmmodel.learning.outlook`), and from those the pace of any design.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lmmodel import folder
from lmmodel.params.document import Document
from lmmodel.params.refusal import Refusal
from pipelines import paths

if TYPE_CHECKING:
    from lmmodel.architecture.declaration import Declaration
    from lmmodel.learning.outlook import Rates
    from lmmodel.learning.plan import Plan
    from lmmodel.learning.rehearsal import Work
    from lmmodel.learning.training import Training
    from lmmodel.text.batches import TokenBatch

MACHINE = paths.OWN / "machine.json"
"""What was measured here, by device, precision, threads and torch."""

_VOCABULARY = 4096
_STEPS = 12
_PATIENCE_SECONDS = 6.0  # for one design; so that all together take at most half a minute

SHAPES = {
    "wide": ({"width": 512, "depth": 2, "heads": 8, "context": 256}, 4),
    "middle": ({"width": 256, "depth": 4, "heads": 4, "context": 256}, 8),
    "deep": ({"width": 128, "depth": 8, "heads": 4, "context": 128}, 8),
    "narrow": ({"width": 64, "depth": 4, "heads": 2, "context": 64}, 1),
}
"""Designs whose steps are timed, each with its rows: more products, more of everything else, more kernels."""


@dataclass(frozen=True)
class Machine:
    """This machine as a training meets it: rates, what tensors can have, and when that was measured."""

    device: str
    precision: str
    threads: int
    rates: Rates
    measured: str


def known(device: str, precision: str, threads: int) -> Machine | None:
    """What was measured before, for this device, precision and number of threads; None where nothing was."""
    from lmmodel.learning.outlook import Rates

    found = _remembered().get(_key(device, precision, threads))
    if found is None:
        return None
    return Machine(device, precision, threads, Rates(**found["rates"]), found["measured"])


def measured(plan: Plan, section: Any) -> Machine:
    """Time the steps of all shapes on the plan's device, in its precision, and remember the rates that explain them."""
    from lmmodel.learning.outlook import fitted

    timed = []
    for shape, rows in SHAPES.values():
        timed.append((work(shape, rows, plan, section), seconds(shape, rows, plan, section)))
    machine = Machine(plan.device, plan.precision, plan.threads, fitted(timed), date.today().isoformat())
    kept = {"rates": asdict(machine.rates), "measured": machine.measured}
    key = _key(plan.device, plan.precision, plan.threads)
    folder.write(MACHINE, folder.canonical({**_remembered(), key: kept}))
    return machine


def memory_bytes(device: str) -> float:
    """What tensors can have on a device of this machine: most of it."""
    import psutil
    import torch

    whole = torch.cuda.mem_get_info()[1] if device == "cuda" else psutil.virtual_memory().total
    return 0.9 * whole


def _remembered() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(MACHINE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _key(device: str, precision: str, threads: int) -> str:
    from lmmodel.learning import machine

    return ", ".join([*machine.record(device).values(), precision, f"{threads} threads"])


# -- steps that are timed ---------------------------------------------------------------------------------------------


@cache
def _declared(shape: str) -> Declaration:
    from lmmodel.architecture.resolve import resolve

    return resolve(Document("pace", {"model": json.loads(shape)}, {}), vocab_size=_VOCABULARY)


def declared(shape: dict[str, Any]) -> Declaration:
    """A design of the usual parts at the sizes of `shape`, or with a `design` of its own."""
    return _declared(json.dumps(shape))


def work(shape: dict[str, Any], rows: int, plan: Plan, section: Any) -> Work:
    """Of one step of `rows` rows at once."""
    from lmmodel.learning.rehearsal import rehearse

    (one,) = rehearse(declared(shape), section, precision=plan.precision, sequences=(rows,))
    return one.part + one.update


def seconds(
    shape: dict[str, Any],
    rows: int,
    plan: Plan,
    section: Any,
    *,
    at_once: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Of the fastest of some real training steps of `rows` rows, not compiled, on random tokens."""
    from lmmodel.learning.reports import Stepped

    began, moments = clock(), []
    with TemporaryDirectory() as scratch:
        for report in _training(shape, rows, at_once or rows, plan, section, Path(scratch)).run():
            if isinstance(report, Stepped):
                moments.append(clock())
                if len(moments) > 2 and moments[-1] - began > _PATIENCE_SECONDS:
                    break
    return min(after - before for before, after in pairwise(moments))


def _training(shape: dict[str, Any], rows: int, at_once: int, plan: Plan, section: Any, scratch: Path) -> Training:
    import numpy as np

    from lmmodel.architecture.model import build
    from lmmodel.learning.training import Training

    declaration = declared(shape)
    few = replace(plan, steps=_STEPS, sequences=rows, micro_sequences=at_once, validations=(), compiled=False)
    few = replace(few, context=declaration.context)
    return Training(
        build(declaration, seed=0),
        _Random(few, declaration.vocab_size),
        plan=few,
        section=section,
        seed=0,
        byte_lengths_V=np.ones(declaration.vocab_size, dtype=np.int64),
        scratch=scratch,
        save_seconds=float("inf"),
    )


class _Random:
    """Batches of tokens that mean nothing: a step takes as long."""

    def __init__(self, plan: Plan, vocab_size: int) -> None:
        self._shape, self._vocab_size = (plan.sequences, plan.context + 1), vocab_size
        self.tokens_per_epoch = plan.tokens

    def batch(self, step: int) -> TokenBatch:
        """Rows of random tokens."""
        import numpy as np

        from lmmodel.text.batches import TokenBatch

        rows = np.random.default_rng(step).integers(0, self._vocab_size, self._shape, dtype=np.int64)
        return TokenBatch(rows[:, :-1], rows[:, 1:], None, None)

    def validation(self, tokens: int) -> Iterator[TokenBatch]:
        """None: nothing is validated."""
        raise Refusal("a trial of a design's pace validates nothing")
