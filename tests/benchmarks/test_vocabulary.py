"""Both ways are the same loss; one of them takes less."""

from __future__ import annotations

import sys

import pytest

from benchmarks import vocabulary
from lmmodel.learning import loss

SMALL = {"width": 64, "rows": 2}


def test_both_ways_are_the_same_loss_with_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK_LOGITS", 2**16)
    model, batch = vocabulary.made(1000, **SMALL)
    model.float()
    gradients = []
    for way in vocabulary.WAYS:
        model.zero_grad()
        vocabulary.loss(way, model, batch).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert (gradient - gradients[1][name]).abs().max() <= 1e-5 * gradient.abs().max(), name


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_chunks_take_less_than_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 512 tokens and a vocabulary of 50,000, 102 MB of float32 logits; thrice that with softmax and gradient."""
    monkeypatch.setattr(loss, "CHUNK_LOGITS", 2**21)
    told = {way: vocabulary.measured(way, 50_000, **SMALL) for way in vocabulary.WAYS}
    assert told["one piece"]["bytes"] > 200e6
    assert told["lmmodel"]["bytes"] < told["one piece"]["bytes"] / 2
    assert told["lmmodel"]["nats"] == pytest.approx(told["one piece"]["nats"], rel=1e-2)
