"""Trainings small enough to run hundreds of steps a second, on text that can be learnt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lmmodel.architecture.model import Model, build
from lmmodel.architecture.resolve import resolve
from lmmodel.learning.plan import Plan, Work, decide
from lmmodel.learning.settings import Launch, Pretrain
from lmmodel.learning.training import Training
from lmmodel.params.document import Document
from lmmodel.text.batches import TokenBatch

VOCABULARY, CONTEXT, ROWS = 40, 16, 6
BYTE_LENGTHS = np.arange(VOCABULARY) % 3 + 1


def model(*, seed: int = 0, **told: Any) -> Model:
    """Two layers of width 16; `told` goes under `design`."""
    data = {"model": {"width": 16, "depth": 2, "heads": 2, "context": CONTEXT, "design": told}}
    return build(resolve(Document("small", data, {}), vocab_size=VOCABULARY), seed=seed)


class Text:
    """Rows of a walk in which each token mostly decides the next; some weights are 0, as padding's are."""

    tokens_per_epoch = 4096

    def __init__(self, rows: int = ROWS, *, weighted: bool = True, separate: bool = False) -> None:
        self.rows, self.weighted, self.separate = rows, weighted, separate

    def batch(self, step: int) -> TokenBatch:
        return self._drawn(step, self.rows)

    def validation(self, tokens: int) -> Iterator[TokenBatch]:
        for part in range(2):
            yield self._drawn(10_000 + part, 5)

    def _drawn(self, number: int, rows: int) -> TokenBatch:
        draw = np.random.default_rng(number)
        walk = np.zeros((rows, CONTEXT + 1), dtype=np.int64)
        walk[:, 0] = draw.integers(0, VOCABULARY, rows)
        for place in range(CONTEXT):
            walk[:, place + 1] = (walk[:, place] * 7 + 3 + draw.integers(0, 2, rows)) % VOCABULARY
        weights = (draw.random((rows, CONTEXT)) < 0.8).astype(np.float32) if self.weighted else None
        documents = np.repeat([[0] * 10 + [1] * 6], rows, axis=0) if self.separate else None
        return TokenBatch(walk[:, :-1], walk[:, 1:], documents, weights)


def section(**told: Any) -> Pretrain:
    """What to do: 8 steps, validated twice."""
    tokens = ROWS * CONTEXT
    given = {"budget": {"tokens": 8 * tokens}, "batch_tokens": tokens, "precision": "float32"}
    return Pretrain.model_validate({**given, "validate": {"times": 2, "tokens": 160}, **told})


def plan(section: Pretrain, *, processes: int = 1, **told: Any) -> Plan:
    """How, on this machine's processor."""
    launch = Launch.model_validate({"device": "cpu", "compile": False, "micro_batch_sequences": 4, **told})
    work = Work(parameters=1000, flops_per_token=6000.0, context=CONTEXT, tokens_per_epoch=Text.tokens_per_epoch)
    return decide(section, launch, work, processes=processes)


def training(scratch: Path, *, told: Pretrain | None = None, text: Text | None = None, **options: Any) -> Training:
    """One of these, ready to run; `options` are those of `Training`, and `model`."""
    told = told or section()
    given: dict[str, Any] = {
        "model": model(),
        "batches": text or Text(),
        "plan": plan(told),
        "seed": 1,
        "byte_lengths_V": BYTE_LENGTHS,
        "save_seconds": 1e9,
    }
    given |= options
    return Training(given.pop("model"), given.pop("batches"), section=told, scratch=scratch, **given)
