"""How fast this machine trains a design: a few real steps of it, tried now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lmmodel.params.refusal import Refusal
from pipelines.parameters import Parameters

if TYPE_CHECKING:
    from lmmodel.learning.plan import Plan
    from lmmodel.text.batches import TokenBatch

_STEPS = 2  # the faster counts; one before them warms up
_PARTS = 2  # of a batch, computed one after the other
_PATIENCE_SECONDS = 4.0  # on a machine that is busy with other things
_MOST_FLOPS = 4e12  # of one trial step: some ten seconds on the slowest machine
_MOST_BYTES = 4e9


@dataclass(frozen=True)
class Pace:
    """Tokens that a training step digests in a second, with so many rows computed at once."""

    tokens_per_second: float
    micro_sequences: int
    device: str
    precision: str
    cores: int


def tried(parameters: Parameters, counts: dict[str, Any]) -> Pace | None:
    """The pace of a few steps on random tokens, not compiled; None where the design is too large to try by the way."""
    from lmmodel.learning import plan

    section: Any = parameters.sections["pretrain"]
    context = parameters.declaration.context
    there = plan.Work(counts["parameters"], counts["training_flops_per_token"], context, tokens_per_epoch=10**9)
    decided = plan.decide(section, parameters.launch, there)
    few = replace(decided, sequences=min(decided.sequences, _PARTS * decided.micro_sequences), compiled=False)
    if few.batch_tokens * there.flops_per_token > _MOST_FLOPS or counts["training_bytes"] > _MOST_BYTES:
        return None
    return Pace(_measure(parameters, few), few.micro_sequences, few.device, few.precision, few.threads)


def _measure(parameters: Parameters, few: Plan) -> float:
    """Tokens a second of the fastest of some real training steps."""
    import numpy as np

    from lmmodel.architecture.model import build
    from lmmodel.learning.reports import Stepped
    from lmmodel.learning.training import Training

    section: Any = parameters.sections["pretrain"]
    declaration = parameters.declaration
    with TemporaryDirectory() as scratch:
        training = Training(
            build(declaration, seed=0),
            _Random(few, declaration.vocab_size),
            plan=replace(few, steps=_STEPS + 2, validations=()),
            section=section,
            seed=0,
            byte_lengths_V=np.ones(declaration.vocab_size, dtype=np.int64),
            scratch=Path(scratch),
            save_seconds=float("inf"),
        )
        began, moments = time.perf_counter(), []
        for report in training.run():
            if isinstance(report, Stepped):
                moments.append(time.perf_counter())
            if len(moments) > _STEPS or (len(moments) > 1 and time.perf_counter() - began > _PATIENCE_SECONDS):
                break
    spans = [after - before for before, after in pairwise(moments)]
    return few.batch_tokens / min(spans)


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
