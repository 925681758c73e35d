from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lmmodel.learning import plan as plans
from lmmodel.learning.portions import Portions
from lmmodel.learning.reports import Stepped, Validated
from lmmodel.learning.settings import Pretrain
from tests.learning import small
from tests.learning.test_training import finish, same, until

ROWS, CONTEXT = 8, small.CONTEXT
GROWING = {
    "batch_tokens": ROWS * CONTEXT,
    "budget": {"tokens": 10 * ROWS * CONTEXT},
    "batch_warmup": {"first_tokens": 2 * CONTEXT, "fraction": 0.4},
    "validate": {"times": 5, "tokens": 160},
}


@given(batches=st.integers(1, 60), power=st.integers(0, 4), first=st.integers(1, 3), fraction=st.floats(0, 1))
def test_updates_together_take_every_row_once_and_in_order(
    batches: int, power: int, first: int, fraction: float
) -> None:
    rows = first * 2**power
    portions = Portions.growing(batches, rows, first=first, fraction=fraction)
    taken, sizes = [], []
    for step in range(portions.steps):
        batch, some = portions.place(step)
        assert portions.rows_before(step) == len(taken)
        taken += [batch * rows + row for row in range(rows)[some]]
        sizes.append(len(range(rows)[some]))
    assert taken == list(range(batches * rows))
    assert sizes == sorted(sizes)
    assert set(sizes) <= {first * 2**n for n in range(power + 1)}
    assert portions.rows_before(portions.steps) == batches * rows
    small_rows = sum(size for size in sizes if size < rows)
    assert small_rows == (rows * round(batches * fraction) if power else 0)


@given(batches=st.integers(1, 10**6), rows=st.integers(1, 4096), step=st.integers(0, 10**6))
def test_without_it_every_number_is_what_it_was(batches: int, rows: int, step: int) -> None:
    step %= batches
    made = plans.Plan(batches, rows, 1, 256, (), "cpu", 1, "float32", compiled=False)
    assert made.portions.place(step) == (step, slice(0, rows))
    assert made.tokens == batches * rows * 256
    assert made.fraction(step) == (step + 0.5) / batches


def test_a_plan_has_more_steps_and_the_same_tokens() -> None:
    section = small.section(**GROWING)
    made = small.plan(section)
    # two batches in fours, two in halves, six whole
    assert made.cuts == ((2, 4), (2, 2))
    assert made.steps == 2 * 4 + 2 * 2 + 6
    assert made.tokens == 10 * ROWS * CONTEXT
    assert made.validations == (8, 12, 14, 16, 18)
    assert [made.tokens_before(step) // (ROWS * CONTEXT) for step in made.validations] == [2, 4, 6, 8, 10]


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    made = small.plan(small.section(**GROWING))
    plans.keep(made, tmp_path)
    assert plans.kept(tmp_path) == made


def test_a_training_reports_tokens_and_goes_by_them(tmp_path: Path) -> None:
    section = small.section(**GROWING, schedule={"kind": "linear", "warmup_fraction": 0.0})
    training = small.training(tmp_path, told=section, text=small.Text(ROWS, weighted=False))
    reports = list(training.run())
    stepped = [report for report in reports if isinstance(report, Stepped)]
    each = np.diff([0, *(report.tokens for report in stepped)])
    assert each.tolist() == [2 * CONTEXT] * 8 + [4 * CONTEXT] * 4 + [8 * CONTEXT] * 6
    total = 10 * ROWS * CONTEXT
    middles = [(report.tokens - size / 2) / total for report, size in zip(stepped, each, strict=True)]
    assert [report.rate for report in stepped] == pytest.approx([1 - middle for middle in middles])
    assert [row["tokens"] for row in training.rows] == [2 * ROWS * CONTEXT * n for n in range(1, 6)]
    first = next(report for report in reports if isinstance(report, Validated))
    expected = sum(report.loss_nats * size for report, size in zip(stepped[:8], each[:8], strict=True))
    assert first.train_loss_nats == pytest.approx(expected / (2 * ROWS * CONTEXT))


def test_its_first_update_is_that_of_a_small_batch(tmp_path: Path) -> None:
    section = small.section(**GROWING)
    growing = small.training(tmp_path / "growing", told=section, text=small.Text(ROWS), save_seconds=0)
    until(growing, 1)

    class First(small.Text):
        def batch(self, step: int):
            whole = super().batch(0)
            return whole._replace(**{name: value[:2] for name, value in whole._asdict().items() if value is not None})

    alone = small.section(budget={"tokens": 2 * CONTEXT}, batch_tokens=2 * CONTEXT, schedule="constant")
    other = small.training(tmp_path / "alone", told=alone, text=First(ROWS), plan=small.plan(alone))
    growing_rate = growing.update.rate(growing.plan.fraction(0))
    other.update.rate = lambda fraction: growing_rate
    finish(other)
    for name, value in other.model.named_parameters():
        assert torch.equal(value, growing.weights.masters[name]), name


def test_stopped_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    section = small.section(**GROWING)
    wanted = finish(small.training(tmp_path / "unbroken", told=section, text=small.Text(ROWS)))
    for step in (3, 9):
        until(small.training(tmp_path / "broken", told=section, text=small.Text(ROWS), save_seconds=0), step)
    assert same(finish(small.training(tmp_path / "broken", told=section, text=small.Text(ROWS))), wanted)


def test_a_first_size_that_does_not_double_up_is_refused() -> None:
    with pytest.raises(ValueError, match=r"first_tokens 48, which can be 16, 32, 64, 128"):
        Pretrain(batch_tokens=128, batch_warmup={"first_tokens": 48}).sequences(16)
    assert Pretrain(batch_tokens=128, batch_warmup={"first_tokens": 32}).sequences(16) == 8
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        Pretrain(batch_warmup={"first_tokens": 256, "fraction": 1.5})
