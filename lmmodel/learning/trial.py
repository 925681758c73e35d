"""Two designs learn from the same batches, step by step in turn: which learns faster?

Both start from the same seed, so that what they share starts equal. They take turns at every step, and who goes first
alternates, so that what else the machine does falls on both alike. When one has used its time, the other, which is
faster, goes on alone until it has used as much. The learning rate rises over the first steps and then stays: unlike
with a rate that falls towards an end, what has been learnt after any number of tokens or seconds can be compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from lmmodel.architecture.roles import roles
from lmmodel.learning import machine
from lmmodel.learning.families import SCHEDULE
from lmmodel.learning.loss import Objective
from lmmodel.learning.parts import parts, weight
from lmmodel.learning.settings import Pretrain
from lmmodel.learning.update import Update
from lmmodel.learning.weights import Weights
from lmmodel.params.kinds import choose
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model
    from lmmodel.learning.plan import Plan
    from lmmodel.text.batches import TokenBatch

WARMUP_STEPS = 10


class Batches(Protocol):
    """Batch n, the same for both, and what neither learns from."""

    def batch(self, step: int) -> TokenBatch: ...  # noqa: D102

    def validation(self, tokens: int) -> Iterator[TokenBatch]: ...  # noqa: D102


@dataclass
class Learner:
    """One of the two on its way: the loss of every batch before it learnt from it, and the seconds used by then."""

    model: Model
    plan: Plan
    section: Pretrain
    clock: Callable[[], float] = time.perf_counter
    losses_nats: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model.to(self.plan.device)
        self.weights = Weights(self.model, precision=self.plan.precision)
        self.update = Update(
            self.weights.masters,
            roles=roles(self.model),
            optimizer=self.section.optimizer,
            schedule=choose(SCHEDULE, {"kind": "constant", "warmup_fraction": 1.0}),
            clip=self.section.clip,
            dtype=self.weights.products,
        )
        self.objective = Objective(self.model, precision=self.plan.precision)

    @property
    def spent(self) -> float:
        """Seconds that its steps took so far."""
        return self.seconds[-1] if self.seconds else 0.0

    def step(self, batch: TokenBatch) -> None:
        """Learn from one batch."""
        began, tokens = self.clock(), weight(batch)
        reports: dict[str, Tensor] = {}
        summed = torch.zeros((), device=self.plan.device)
        for part in parts(batch, self.plan.micro_sequences, self.plan.device):
            losses = self.objective(part)
            (losses.total / tokens).backward()
            self.weights.gather()
            summed += losses.nats
            reports = {name: value + reports.get(name, 0) for name, value in losses.reports.items()}
        loss_nats = float(summed) / tokens
        if not math.isfinite(loss_nats):
            raise Refusal(f"the loss is {loss_nats} at step {len(self.losses_nats) + 1:,}")
        self.update.apply(min(1.0, (len(self.losses_nats) + 0.5) / WARMUP_STEPS), self.update.norm())
        self.weights.publish()
        if reports:
            with torch.no_grad():
                self.model.adapt(reports)
        self.losses_nats.append(loss_nats)
        self.seconds.append(self.spent + self.clock() - began)

    def score(self, batches: list[TokenBatch]) -> np.ndarray:
        """Nats of every row of text that it does not learn from; a Refusal where that is no number."""
        rows = []
        with torch.no_grad(), self.weights.at(self.update.averaged()):
            for batch in batches:
                rows += [float(self.objective(part).nats) for part in parts(batch, 1, self.plan.device)]
        if not np.isfinite(rows).all():
            raise Refusal(f"the loss on held-out text is {sum(rows)} after step {len(self.losses_nats):,}")
        return np.array(rows)


@dataclass(frozen=True)
class Moment:
    """Both on the same held-out rows: nats of each row, and the steps and seconds that each had by then."""

    name: str
    nats_R: tuple[np.ndarray, np.ndarray]
    steps: tuple[int, int]
    seconds: tuple[float, float]


def compete(
    one: Learner, other: Learner, batches: Batches, *, seconds: float, held_out: list[TokenBatch]
) -> Iterator[int | Moment]:
    """Let them learn for `seconds` altogether; yields the number of steps that both have done, and two Moments.

    `tokens`: after as many tokens each. `seconds`: after as many seconds each.
    """
    each, step = seconds / 2, 0
    machine.keep_freed_memory()
    with machine.determined(one.plan.device, one.plan.threads):
        while max(one.spent, other.spent) < each or step < 1:
            torch.manual_seed(step)
            batch = batches.batch(step)
            for learner in (one, other) if step % 2 == 0 else (other, one):
                learner.step(batch)
            step += 1
            yield step
        nats_one, nats_other = one.score(held_out), other.score(held_out)
        yield _moment("tokens", one, other, nats_one, nats_other)
        faster, slower = (one, other) if one.spent < other.spent else (other, one)
        while faster.spent + faster.spent / len(faster.seconds) <= slower.spent:
            faster.step(batches.batch(len(faster.losses_nats)))
            yield step
        if len(faster.losses_nats) > step:
            again = faster.score(held_out)
            nats_one, nats_other = (again, nats_other) if faster is one else (nats_one, again)
        yield _moment("seconds", one, other, nats_one, nats_other)


def _moment(name: str, one: Learner, other: Learner, nats_one: np.ndarray, nats_other: np.ndarray) -> Moment:
    steps = len(one.losses_nats), len(other.losses_nats)
    return Moment(name, (nats_one, nats_other), steps, (one.spent, other.spent))
