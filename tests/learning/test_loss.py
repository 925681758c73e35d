from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lmmodel.architecture.model import Model
from lmmodel.learning import loss
from lmmodel.learning.loss import Batch, Objective
from tests.learning import small


def batch(*, separate: bool = False) -> Batch:
    return Batch(*(None if a is None else torch.from_numpy(a.copy()) for a in small.Text(separate=separate).batch(0)))


def gradients(model: Model, parts: list[Batch], tokens: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    for part in parts:
        (Objective(model)(part).total / tokens).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def cut(whole: Batch, sizes: list[int]) -> list[Batch]:
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    return [Batch(*(None if t is None else t[start:end] for t in whole)) for start, end in pairwise(ends)]


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_nats_are_the_cross_entropy_of_the_models_logits(softcap: float | None) -> None:
    model, told = small.model(head={"softcap": softcap} if softcap else {}), batch()
    with torch.no_grad():
        model.embedding.weight.mul_(50)
        losses = Objective(model)(told)
        wanted = F.cross_entropy(model(told.tokens_BT).flatten(0, 1), told.targets_BT.flatten(), reduction="none")
    assert losses.nats == pytest.approx(float(wanted @ told.weights_BT.flatten()), rel=1e-5)
    assert losses.tokens == told.weights_BT.sum()
    assert losses.total == losses.nats


def test_a_batch_without_weights_counts_every_token() -> None:
    told = batch()._replace(weights_BT=None)
    assert Objective(small.model())(told).tokens == told.tokens_BT.numel()


@pytest.mark.parametrize("sizes", [[6], [3, 3], [4, 2], [1] * 6])
@pytest.mark.parametrize("ahead", [0, 2])
def test_however_a_batch_is_cut_its_gradient_is_the_same(sizes: list[int], ahead: int) -> None:
    model, whole = small.model(head={"ahead": ahead}).double(), batch(separate=True)
    wanted = gradients(model, [whole], whole.weights_BT.sum())
    found = gradients(model, cut(whole, sizes), whole.weights_BT.sum())
    for name, gradient in wanted.items():
        assert torch.allclose(found[name], gradient, atol=1e-12), name


def test_logits_in_chunks_are_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    model, told = small.model().double(), batch()
    whole, wanted = Objective(model)(told), gradients(model, [told], torch.tensor(1.0))
    monkeypatch.setattr(loss, "CHUNK_LOGITS", 7 * small.VOCABULARY)
    assert torch.allclose(Objective(model)(told).total, whole.total, rtol=1e-12)
    found = gradients(model, [told], torch.tensor(1.0))
    assert all(torch.allclose(found[name], gradient, atol=1e-12) for name, gradient in wanted.items())


@torch.no_grad()
def test_tokens_further_ahead_are_added_where_they_are_of_the_same_document() -> None:
    model, told = small.model(head={"ahead": 1}).double(), batch(separate=True)
    losses = Objective(model)(told)
    trace = model.trace(told.tokens_BT, documents_BT=told.documents_BT, ahead=True)
    nats = 0.0
    for row in range(small.ROWS):
        for place in range(small.CONTEXT - 1):
            if told.documents_BT[row, place] == told.documents_BT[row, place + 1]:
                spread = torch.log_softmax(model.logits(trace.ahead[0][row, place]), dim=-1)
                nats -= float(spread[told.targets_BT[row, place + 1]] * told.weights_BT[row, place + 1])
    assert float(losses.total - losses.nats) == pytest.approx(loss.AHEAD_WEIGHT * nats, rel=1e-9)


@torch.no_grad()
def test_a_components_own_loss_counts_by_the_tokens_of_its_rows() -> None:
    model, told = small.model().double(), batch()
    model.layers[0].register_forward_pre_hook(
        lambda module, given: given[1].add_loss(module, "balance", given[0].mean(dim=(1, 2)) ** 2)
    )
    losses = Objective(model)(told)
    own = model.embedding(told.tokens_BT).mean(dim=(1, 2)) ** 2
    assert float(losses.total - losses.nats) == pytest.approx(
        float(own @ told.weights_BT.double().sum(dim=1)), rel=1e-6
    )
    parts = [Objective(model)(part).total for part in cut(told, [2, 4])]
    assert torch.allclose(torch.stack(parts).sum(), losses.total)


def test_bfloat16_hidden_states_still_give_nats_in_float32() -> None:
    losses = Objective(small.model().bfloat16())(batch())
    assert losses.nats.dtype == losses.total.dtype == torch.float32
