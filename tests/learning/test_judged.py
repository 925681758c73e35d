"""What a training is judged by and leaves: averages, the best, and an end before the end of the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lmmodel.learning import saving
from lmmodel.learning.judged import Judged, best
from lmmodel.learning.reports import Said, Saved, Stepped
from lmmodel.learning.settings import Pretrain
from lmmodel.learning.training import Training
from lmmodel.text.batches import TokenBatch
from tests.learning import small
from tests.learning.test_training import finish, same, until

EMA = {"ema": {"decay": 0.8}}
STOPPING = {"early_stopping": {"patience": 2}, "validate": {"times": 20, "tokens": 160}}
BATCH = small.ROWS * small.CONTEXT


def told(**more: Any) -> Pretrain:
    return small.section(**{"budget": {"tokens": 20 * BATCH}, "optimizer": "adamw", **more})


class Noise(small.Text):
    """Text whose targets are drawn at random: whoever learns it by heart does worse on what it has not seen."""

    def _drawn(self, number: int, rows: int) -> TokenBatch:
        draw = np.random.default_rng(number % 2 if number < 10_000 else number)
        tokens, targets = draw.integers(0, small.VOCABULARY, (2, rows, small.CONTEXT))
        return TokenBatch(tokens, targets, None, None)


def overfitting(scratch: Path, **more: Any) -> Training:
    section = told(**{**STOPPING, "optimizer": {"kind": "adamw", "learning_rate": 0.03}, **more})
    return small.training(scratch, told=section, text=Noise())


def steps(training: Training) -> list[dict[str, torch.Tensor]]:
    """The weights after each step."""
    found = []
    for report in training.run():
        if isinstance(report, Stepped):
            found.append({name: value.detach().clone() for name, value in training.weights.masters.items()})
    return found


def test_an_average_is_the_sum_of_all_weights_on_the_way(tmp_path: Path) -> None:
    section = told(**EMA)
    training = small.training(tmp_path, told=section)
    first = {name: value.detach().clone() for name, value in training.weights.masters.items()}
    expected = {name: value.double() for name, value in first.items()}
    for number, weights in enumerate(steps(training), 1):
        decay = min(0.8, (1 + number) / (10 + number))
        expected = {name: decay * expected[name] + (1 - decay) * weights[name].double() for name in expected}
    for name, value in training.model.named_parameters():
        assert torch.allclose(value.double(), expected[name], atol=1e-6), name


def test_averaging_changes_what_is_judged_and_nothing_that_is_learnt(tmp_path: Path) -> None:
    plain, averaged = (
        small.training(tmp_path / "plain", told=told()),
        small.training(tmp_path / "ema", told=told(**EMA)),
    )
    for one, other in zip(steps(plain), steps(averaged), strict=True):
        assert same(one, other)
    assert [row["loss_nats"] for row in plain.rows] == [row["loss_nats"] for row in averaged.rows]
    assert not same(dict(plain.model.named_parameters()), dict(averaged.model.named_parameters()))
    assert plain.rows[-1]["validation_loss_nats"] != averaged.rows[-1]["validation_loss_nats"]


@pytest.mark.parametrize("precision", ["float32", "autocast", "bfloat16"])
@pytest.mark.parametrize("options", [EMA, STOPPING, EMA | STOPPING])
def test_stopped_twice_and_resumed_it_is_judged_by_the_same_bytes(
    tmp_path: Path, precision: str, options: dict[str, Any]
) -> None:
    def training(name: str, **more: Any) -> Training:
        section = told(**options, precision=precision)
        return small.training(tmp_path / name, told=section, **more)

    unbroken = training("unbroken")
    wanted = finish(unbroken)
    for step in (5, 11):
        until(training("broken", save_seconds=0), step)
    resumed = training("broken")
    assert same(finish(resumed), wanted)
    assert resumed.rows == unbroken.rows
    states = [saving.states(tmp_path / name)[-1] / "state.safetensors" for name in ("unbroken", "broken")]
    assert states[0].read_bytes() == states[1].read_bytes()
    again = training("unbroken")
    assert same(finish(again), wanted)


def test_it_stops_when_validations_only_get_worse_and_leaves_the_best(tmp_path: Path) -> None:
    training = overfitting(tmp_path)
    weights = steps(training)
    losses = [row["validation_loss_nats"] for row in training.rows]
    lowest = losses.index(min(losses))
    assert training.step == len(losses) == lowest + 1 + 2 < 20
    assert training.kept == lowest + 1
    assert same(dict(training.model.named_parameters()), weights[lowest])


def test_where_it_stopped_it_stays_stopped_and_says_so(tmp_path: Path) -> None:
    first = overfitting(tmp_path)
    said = [report.text for report in first.run() if isinstance(report, Said)]
    assert said == [f"stops after step {first.step}: no validation was better than that of step {first.kept}"]
    again = overfitting(tmp_path)
    assert not any(isinstance(report, Stepped | Saved) for report in again.run())
    assert (again.step, again.kept, again.rows) == (first.step, first.kept, first.rows)
    assert same(dict(again.model.named_parameters()), dict(first.model.named_parameters()))


def test_killed_on_its_way_it_stops_at_the_same_step(tmp_path: Path) -> None:
    unbroken = overfitting(tmp_path / "unbroken", **EMA)
    wanted = finish(unbroken)
    broken = overfitting(tmp_path / "broken", **EMA)
    broken.save_seconds = 0
    until(broken, unbroken.kept)
    resumed = overfitting(tmp_path / "broken", **EMA)
    assert same(finish(resumed), wanted)
    assert (resumed.step, resumed.kept) == (unbroken.step, unbroken.kept)


@given(losses=st.lists(st.integers(0, 6), min_size=1, max_size=12), patience=st.integers(1, 4))
def test_the_end_follows_from_the_curve_alone(losses: list[int], patience: int) -> None:
    training = small.training(Path("never written"), told=told(early_stopping={"patience": patience}))
    rows = [{"validation_loss_nats": float(loss)} for loss in losses]
    assert best(rows) == losses.index(min(losses))
    since = losses[losses.index(min(losses)) + 1 :]
    assert training.judged.exhausted(rows) == (len(since) >= patience)
    never = Judged(training.model, training.weights, training.update)
    assert not never.exhausted(rows)
    assert never.row(rows) is rows[-1]


def test_weights_are_averaged_once() -> None:
    with pytest.raises(ValidationError, match="'schedule_free' averages weights itself: leave ema out"):
        small.section(optimizer="schedule_free", schedule="constant", **EMA)
