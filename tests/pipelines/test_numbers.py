from pathlib import Path

import pytest

from lmmodel.learning.plan import Work
from pipelines.training import _numbers
from tests.learning import small
from tests.learning.test_judged import overfitting
from tests.learning.test_training import finish

WORK = Work(parameters=1000, flops_per_token=6000.0, context=small.CONTEXT, tokens_per_epoch=4096)


def test_of_a_training_that_stopped_early_what_it_took_and_what_it_left_is_told(tmp_path: Path) -> None:
    training = overfitting(tmp_path)
    finish(training)
    numbers, tokens = _numbers(training, WORK), training.step * small.ROWS * small.CONTEXT
    assert training.kept < training.step < training.plan.steps
    assert numbers["steps"] == training.step
    assert numbers["tokens"] == tokens
    assert numbers["flops"] == pytest.approx(6000 * tokens)
    assert numbers["epochs"] == pytest.approx(tokens / 4096)
    assert numbers["validation_loss_nats"] == min(row["validation_loss_nats"] for row in training.rows)
