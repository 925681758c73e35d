"""Two learners on the same batches: fair turns, equal tokens, equal seconds, and nothing that one owes the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lmmodel.learning import machine
from lmmodel.learning.reports import Stepped
from lmmodel.learning.trial import WARMUP_STEPS, Learner, Moment, compete
from lmmodel.params.refusal import Refusal
from lmmodel.text.batches import TokenBatch
from tests.learning.small import Text, model, plan, section, training

HELD_OUT = list(Text().validation(160))


class Clock:
    """Stands still but for what a learner's steps take: `each` seconds."""

    def __init__(self, each: float) -> None:
        self.each, self.calls = each, 0

    def __call__(self) -> float:
        self.calls += 1
        return self.calls // 2 * self.each


class Seen(Text):
    """Notes which batches were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def batch(self, step: int) -> TokenBatch:
        self.asked.append(step)
        return super().batch(step)


def learner(each: float = 1.0, **told: Any) -> Learner:
    return Learner(model(**told), plan(section()), section(), clock=Clock(each))


def finished(one: Learner, other: Learner, batches: Text | None = None, seconds: float = 40) -> dict[str, Moment]:
    events: Iterator[Any] = compete(one, other, batches or Text(), seconds=seconds, held_out=HELD_OUT)
    return {event.name: event for event in events if isinstance(event, Moment)}


def test_the_same_design_learns_the_same():
    moments = finished(learner(), learner())
    for moment in moments.values():
        assert np.array_equal(*moment.nats_R)
        assert moment.steps == (20, 20)


def test_both_learn_from_the_same_batches_and_the_faster_goes_on_to_equal_seconds():
    seen, one, other = Seen(), learner(1.0), learner(2.0, attention="none")
    moments = finished(one, other, seen)
    assert moments["tokens"].steps == (10, 10)
    assert moments["seconds"].steps == (20, 10)
    assert moments["seconds"].seconds == (20.0, 20.0)
    assert seen.asked == list(range(20))
    assert not np.array_equal(moments["tokens"].nats_R[0], moments["seconds"].nats_R[0])
    assert np.array_equal(moments["tokens"].nats_R[1], moments["seconds"].nats_R[1])


def test_a_learner_learns_and_its_curve_has_a_point_for_each_batch():
    one, other = learner(), learner()
    finished(one, other, seconds=60)
    assert len(one.losses_nats) == len(one.seconds) == 30
    assert np.mean(one.losses_nats[-5:]) < np.mean(one.losses_nats[:5]) - 0.3


def test_what_one_learns_does_not_depend_on_the_other():
    alone, beside = learner(), learner()
    finished(alone, learner())
    finished(beside, learner(1.0, norm="layer"))
    assert alone.losses_nats == beside.losses_nats


def test_held_out_rows_are_scored_one_by_one_whatever_the_parts():
    one = learner()
    whole = one.score(HELD_OUT)
    assert len(whole) == sum(len(batch.tokens_BT) for batch in HELD_OUT)
    one.plan = replace(one.plan, micro_sequences=1)
    assert one.score(HELD_OUT) == pytest.approx(whole)


def test_a_held_out_loss_that_is_no_number_is_refused():
    one = learner()
    one.step(Text().batch(0))
    next(iter(one.weights.masters.values())).data.fill_(float("nan"))
    one.weights.publish()
    with pytest.raises(Refusal, match="the loss on held-out text is nan after step 1"):
        one.score(HELD_OUT)


def test_a_step_is_that_of_the_training_loop(tmp_path):
    told = section(schedule={"kind": "constant", "warmup_fraction": 1.0}, budget={"tokens": WARMUP_STEPS * 96})
    assert plan(told).steps == WARMUP_STEPS
    steps = training(tmp_path, told=told, plan=plan(told), model=model(seed=3)).run()
    losses = [report.loss_nats for report in steps if isinstance(report, Stepped)]
    one = Learner(model(seed=3), plan(told), told)
    with machine.determined("cpu", one.plan.threads):
        for step in range(WARMUP_STEPS):
            one.step(Text().batch(step))
    assert one.losses_nats == losses
