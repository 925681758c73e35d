"""What is left out, when, and that neither a kill nor a validation changes what is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lmmodel.learning.dropout import Dropout
from lmmodel.learning.loss import Objective
from lmmodel.learning.parts import on_device
from lmmodel.learning.reports import Stepped, Validated
from lmmodel.learning.training import Training
from lmmodel.params.refusal import Refusal
from tests.architecture.faulty import RENAMING_BLOCK
from tests.learning import small

SHARE = 0.3
DROPPING = {"dropout": SHARE}


def weights(training: Training) -> dict[str, torch.Tensor]:
    for _ in training.run():
        pass
    return dict(training.model.named_parameters())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def added(model: Any, tokens_BT: torch.Tensor) -> list[torch.Tensor]:
    """What every part of every layer adds in a pass."""
    found: list[torch.Tensor] = []
    parts = [part for block in model.layers for part in (block.attention, block.feed_forward)]
    hooks = [part.register_forward_hook(lambda _, given, gave: found.append(gave)) for part in parts]
    with torch.no_grad():
        model(tokens_BT)
    for hook in hooks:
        hook.remove()
    return found


def test_the_share_is_left_out_of_every_part_and_the_sum_stays() -> None:
    model, tokens_BT = small.model(norm="none"), torch.zeros(64, 16, dtype=torch.int64)
    plain = added(model, tokens_BT)[0]
    dropout = Dropout(model, SHARE)
    with dropout.at_work():
        torch.manual_seed(0)
        dropped = added(model, tokens_BT)
    for part in dropped:
        assert (part == 0).float().mean() == pytest.approx(SHARE, abs=0.02)
    left = dropped[0] != 0
    assert torch.allclose(dropped[0][left], plain[left] / (1 - SHARE), rtol=1e-5)
    assert len(dropped) == 4


def test_at_rest_and_afterwards_nothing_is_left_out() -> None:
    model, tokens_BT = small.model(), torch.arange(16)[None]
    plain = added(model, tokens_BT)
    dropout = Dropout(model, SHARE)
    with dropout.at_work():
        assert not torch.equal(added(model, tokens_BT)[-1], plain[-1])
        with dropout.resting():
            assert all(map(torch.equal, added(model, tokens_BT), plain))
        assert not torch.equal(added(model, tokens_BT)[-1], plain[-1])
    assert all(map(torch.equal, added(model, tokens_BT), plain))


def test_tables_for_runs_are_thinned_too() -> None:
    model = small.model(embedding={"ngrams": [30]})
    torch.nn.init.ones_(model.ngrams.tables[0].weight)
    seen: list[torch.Tensor] = []
    with Dropout(model, SHARE).at_work():
        model.ngrams.register_forward_hook(lambda _, given, gave: seen.append(gave))
        model(torch.zeros(64, 16, dtype=torch.int64))
    assert (seen[0] == 0).float().mean() == pytest.approx(SHARE, abs=0.02)


def test_without_it_a_training_ends_in_the_bytes_that_it_always_had(tmp_path: Path) -> None:
    plain = weights(small.training(tmp_path / "plain"))
    assert same(plain, weights(small.training(tmp_path / "none", told=small.section(dropout=None))))
    assert not same(plain, weights(small.training(tmp_path / "some", told=small.section(**DROPPING))))


@pytest.mark.parametrize("told", [{}, {"activation_checkpointing": True}])
def test_broken_off_and_gone_on_with_it_ends_in_the_same_bytes(told: dict[str, Any], tmp_path: Path) -> None:
    section = small.section(**DROPPING)
    unbroken = weights(small.training(tmp_path / "unbroken", told=section))
    for _ in range(2):
        reports = small.training(
            tmp_path / "broken", told=section, plan=small.plan(section, **told), save_seconds=0.0
        ).run()
        steps = 0
        while steps < 3:
            steps += isinstance(next(reports), Stepped)
        next(reports)
        reports.close()
    gone_on = small.training(tmp_path / "broken", told=section, plan=small.plan(section, **told))
    assert same(unbroken, weights(gone_on))


def test_how_often_it_is_validated_changes_no_weight_and_validation_leaves_nothing_out(tmp_path: Path) -> None:
    once = small.training(tmp_path / "once", told=small.section(**DROPPING, validate={"times": 1}))
    often = small.training(tmp_path / "often", told=small.section(**DROPPING, validate={"times": 8}))
    assert same(weights(once), weights(often))
    again = small.training(tmp_path / "again", told=small.section(**DROPPING, validate={"times": 1}))
    losses = [report.loss_nats for report in again.run() if isinstance(report, Validated)]
    with torch.no_grad():
        held_out = [on_device(batch, "cpu") for batch in small.Text().validation(0)]
        found = [Objective(again.model)(batch) for batch in held_out]
    nats, tokens = (sum(float(getattr(one, name)) for one in found) for name in ("nats", "tokens"))
    assert losses[-1] == pytest.approx(nats / tokens, abs=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_one_compiled_step_serves_learning_and_validation(tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    counters.clear()
    told = small.section(**DROPPING)
    plan = small.plan(told, compile=True, micro_batch_sequences=small.ROWS)
    training = small.training(tmp_path / "compiled", told=told, plan=plan)
    learnt = weights(training)
    assert training.plan.compiled
    assert counters["stats"]["unique_graphs"] == 1
    assert same(learnt, weights(small.training(tmp_path / "again", told=told, plan=plan)))


def test_a_share_of_parts_that_no_layer_has_by_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.py").write_text(RENAMING_BLOCK)
    own = small.model(block="experiments/mine.py", embedding={"ngrams": [30]})
    with pytest.raises(Refusal, match=r"dropout 0.3 is .* block 'experiments/mine.py' holds nothing by these names"):
        Dropout(own, SHARE)
    Dropout(own, None)
    with pytest.raises(Refusal, match="no layer has either"):
        Dropout(small.model(attention="none", feed_forward="none"), SHARE)


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1])
def test_all_or_nothing_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="dropout"):
        small.section(dropout=share)
