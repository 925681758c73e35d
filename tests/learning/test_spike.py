"""A loss that jumps is told of, with the module and the row that did it, and nothing that is learnt changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lmmodel.learning.loss import Batch, Objective
from lmmodel.learning.parts import on_device
from lmmodel.learning.reports import Said
from lmmodel.learning.spike import FEWEST, Spikes, traced
from lmmodel.text.batches import TokenBatch
from tests.learning import small

STEPS, JUMPS_AT, BAD_ROW = 170, 160, 4


def test_what_stands_out_of_the_losses_before_it_is_a_spike() -> None:
    draw, spikes = np.random.default_rng(1), Spikes()
    falling = [3.0 - 0.002 * step + 0.02 * float(draw.standard_normal()) for step in range(400)]
    assert [spikes.seen(loss) for loss in falling] == [None] * 400
    assert spikes.seen(falling[-1] + 0.5) == pytest.approx(falling[-1], abs=0.1)
    assert spikes.seen(falling[-1]) is None
    assert spikes.seen(falling[-1] + 0.5) is not None, "one spike does not hide the next"


def test_nothing_stands_out_of_a_few_and_a_little_never_does() -> None:
    spikes = Spikes()
    assert [spikes.seen(loss) for loss in [*[2.0] * (FEWEST - 1), 9.0]] == [None] * FEWEST
    calm = Spikes()
    assert [calm.seen(2.0) for _ in range(FEWEST)] == [None] * FEWEST
    assert calm.seen(2.05) is None


class Strange(small.Text):
    """As ever, but for a row of one batch, whose tokens follow another rule."""

    def batch(self, step: int) -> TokenBatch:
        batch = super().batch(step)
        if step != JUMPS_AT:
            return batch
        targets_BT = batch.targets_BT.copy()
        targets_BT[BAD_ROW] = (targets_BT[BAD_ROW] + 11) % small.VOCABULARY
        return batch._replace(targets_BT=targets_BT)

    def where(self, step: int, row: int) -> str:
        return "in a strange book"


def said(scratch: Path, text: small.Text) -> tuple[list[str], nn.Module]:
    told = small.section(
        budget={"tokens": STEPS * small.ROWS * small.CONTEXT}, optimizer={"kind": "adamw", "learning_rate": 0.02}
    )
    training = small.training(scratch, told=told, text=text)
    return [report.text for report in training.run() if isinstance(report, Said)], training.model


def test_a_strange_row_is_named_with_its_place_and_the_text_is_blamed(tmp_path: Path) -> None:
    (remark,), _ = said(tmp_path, Strange(weighted=False))
    assert remark.startswith(f"step {JUMPS_AT + 1}: the loss jumped to ")
    assert f"; row {BAD_ROW} of batch {JUMPS_AT}, which cost " in remark
    assert remark.endswith(", in a strange book; no module's output grew: it is the text")


def test_nothing_is_said_of_text_as_ever(tmp_path: Path) -> None:
    assert said(tmp_path, small.Text(weighted=False))[0] == []


def test_the_first_module_whose_output_grew_is_named() -> None:
    model, surging = small.model(), False
    model.layers[1].feed_forward.gate.register_forward_hook(lambda module, given, gave: gave * (100 if surging else 1))
    batch = on_device(small.Text().batch(1), "cpu")

    def surge(now: bool) -> Iterator[Batch]:
        nonlocal surging
        surging = now
        yield batch

    found = traced(Objective(model), model, surge(True), surge(False), usual_nats=4.5)
    grown = r"the output of layers\.1\.feed_forward\.gate \(torch.* is the first that grew, to 100\.0 times its size"
    assert re.fullmatch(grown, found.cause)
    assert 0 <= found.row < small.ROWS
    assert all(parameter.grad is None for parameter in model.parameters())


def test_where_the_batch_before_costs_as_much_the_last_update_is_blamed() -> None:
    model, batch = small.model(), on_device(small.Text().batch(1), "cpu")
    found = traced(Objective(model), model, [batch], [batch], usual_nats=1.0)
    assert re.fullmatch(r"the batch before it costs 3\.\d\d now: it is the last update", found.cause)


def test_telling_changes_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, model = said(tmp_path / "told", Strange(weighted=False))
    monkeypatch.setattr(Spikes, "seen", lambda self, loss_nats: None)
    silent, same = said(tmp_path / "silent", Strange(weighted=False))
    assert (len(told), len(silent)) == (1, 0)
    for one, other in zip(model.parameters(), same.parameters(), strict=True):
        assert torch.equal(one, other)
