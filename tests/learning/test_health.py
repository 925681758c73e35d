from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lmmodel.learning import saving
from lmmodel.learning.health import Health, component
from lmmodel.learning.reports import Validated
from lmmodel.learning.training import Training
from lmmodel.params.refusal import Refusal
from lmmodel.text.batches import PretrainBatches, TokenBatch
from lmmodel.text.shards import Shards, Split
from tests.learning import small
from tests.learning.test_training import finish

EXPERTS = {"feed_forward": {"kind": "experts", "experts": 4, "active": 2}}


def probed(model: nn.Module, rows: int = 3) -> dict[str, float]:
    tokens_BT = torch.from_numpy(small.Text(rows).batch(0).tokens_BT.copy())
    return Health(model, dict(model.named_parameters())).probe(tokens_BT, None)


def naive_entropy(model: nn.Module, layer: int, tokens_BT: torch.Tensor) -> float:
    """From the queries and keys of a multi-head layer, with plain loops over what each token sees."""
    attention, kept = model.layers[layer].attention, []
    hook = attention.register_forward_pre_hook(lambda module, given: kept.append(given))
    with torch.no_grad():
        model.trace(tokens_BT)
    hook.remove()
    x_BTD, span = kept[0]
    q, k = (part(x_BTD).unflatten(-1, (2, -1)) for part in (attention.query, attention.key))
    q, k = (attention.position.rotate(x, span.positions_BT) for x in (q, k))
    q, k, found = q.detach(), k.detach(), []
    for row in range(len(tokens_BT)):
        for head in range(2):
            for place in range(tokens_BT.size(1)):
                scores = k[row, : place + 1, head] @ q[row, place, head] / q.size(-1) ** 0.5
                shares = scores.softmax(0)
                found.append(-float((shares * shares.log()).sum()))
    return sum(found) / len(found)


def test_entropy_is_that_of_what_each_token_looks_at() -> None:
    model = small.model()
    with torch.no_grad():
        for layer in model.layers:
            layer.attention.query.weight.mul_(20)
    tokens_BT = torch.from_numpy(small.Text(3).batch(0).tokens_BT.copy())
    found = probed(model)
    for layer in (0, 1):
        expected = naive_entropy(model, layer, tokens_BT)
        assert found[f"attention_entropy/layers.{layer}.attention"] == pytest.approx(expected, rel=1e-4)


def test_attention_that_sees_all_alike_has_the_most_entropy_and_one_that_stares_none() -> None:
    model = small.model()
    with torch.no_grad():
        model.layers[0].attention.query.weight.zero_()
    most = sum(math.log(place) for place in range(1, small.CONTEXT + 1)) / small.CONTEXT
    found = probed(model)
    assert found["attention_entropy/layers.0.attention"] == pytest.approx(most, rel=1e-5)
    assert all(0 <= value <= most + 1e-5 for name, value in found.items() if name.startswith("attention_entropy"))


def test_units_that_no_token_wakes_are_counted() -> None:
    model = small.model(feed_forward={"kind": "gated", "hidden": 8})
    with torch.no_grad():
        model.layers[1].feed_forward.up.weight[:2].zero_()
    found = probed(model)
    assert found["dead_units/layers.1.feed_forward"] == pytest.approx(0.25)
    assert found["dead_units/layers.0.feed_forward"] == 0


def test_experts_that_are_not_used_show() -> None:
    model = small.model(**EXPERTS)
    with torch.no_grad():
        model.layers[0].feed_forward.router.weight.zero_()  # all alike: the first are chosen always
    found = probed(model)
    assert found["expert_load_largest/layers.0.feed_forward"] == pytest.approx(2.0)
    assert found["expert_load_none/layers.0.feed_forward"] == pytest.approx(0.5)


def validated(scratch: Path, **options: Any) -> tuple[Training, list[Validated]]:
    training = small.training(scratch, **options)
    return training, [report for report in training.run() if isinstance(report, Validated)]


@pytest.mark.parametrize("precision", ["float32", "autocast", "bfloat16"])
def test_norms_are_those_of_the_step_before_a_validation(tmp_path: Path, precision: str) -> None:
    told = small.section(precision=precision, clip=None)
    training = small.training(tmp_path, told=told)
    kept: dict[str, Any] = {}
    apply = training.update.apply

    def watched(fraction: float, norm: torch.Tensor) -> None:
        if training.step == 3:
            masters = training.weights.masters
            kept["gradients"] = {name: master.grad.clone() for name, master in masters.items()}
            kept["before"] = {name: master.detach().clone() for name, master in masters.items()}
        apply(fraction, norm)
        if training.step == 3:
            kept["after"] = {name: master.detach().clone() for name, master in training.weights.masters.items()}

    training.update.apply = watched
    first = next(report for report in training.run() if isinstance(report, Validated))
    part = "layers.1.attention"
    own = [name for name in kept["before"] if name.startswith(part + ".")]

    def norm(tensors: dict[str, torch.Tensor]) -> float:
        return float(torch.cat([tensors[name].flatten() for name in own]).norm())

    moved = {name: kept["after"][name] - kept["before"][name] for name in own}
    assert first.health[f"gradient_norm/{part}"] == pytest.approx(norm(kept["gradients"]), rel=1e-4)
    assert first.health[f"update/{part}"] == pytest.approx(norm(moved) / norm(kept["before"]), rel=1e-4)


@pytest.mark.parametrize("design", [{}, EXPERTS, {"attention": "gated_delta"}])
def test_looking_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, design: dict[str, Any]) -> None:
    looked, found = validated(tmp_path / "looked", model=small.model(**design))
    assert all(math.isfinite(value) for report in found for value in report.health.values())
    for name in ("before", "after"):
        monkeypatch.setattr(Health, name, lambda self: None)
    monkeypatch.setattr(Health, "probe", lambda self, tokens_BT, documents_BT: {})
    blind, _ = validated(tmp_path / "blind", model=small.model(**design))
    states = [saving.states(tmp_path / name)[-1] / "state.safetensors" for name in ("looked", "blind")]
    assert states[0].read_bytes() == states[1].read_bytes()
    assert looked.rows == blind.rows


def test_figures_repeat(tmp_path: Path) -> None:
    (_, one), (_, other) = (validated(tmp_path / name) for name in ("one", "other"))
    assert [report.health for report in one] == [report.health for report in other]
    kinds = {name.partition("/")[0] for name in one[0].health}
    assert kinds == {"gradient_norm", "update", "attention_entropy", "dead_units"}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("layers.3.attention.query.weight", "layers.3.attention"),
        ("layers.3.attention_norm.weight", "layers.3.attention_norm"),
        ("layers.3.scale", "layers.3"),
        ("embedding.weight", "embedding"),
        ("norm.weight", "norm"),
    ],
)
def test_a_parameter_belongs_to_a_component(name: str, part: str) -> None:
    assert component(name) == part


class Spoilt(small.Text):
    """From step 2 on, row 4 begins with a token that the model cannot bear."""

    def batch(self, step: int) -> TokenBatch:
        batch = super().batch(step)
        batch.tokens_BT[batch.tokens_BT == 39] = 38
        if step >= 2:
            batch.tokens_BT[4, 0] = 39
        return batch

    def where(self, step: int, row: int) -> str:
        return f"which is {step} and {row}"


def test_a_batch_that_spoils_a_training_is_named_with_its_row_and_place(tmp_path: Path) -> None:
    model = small.model(embedding={"tied": False})
    with torch.no_grad():
        model.embedding.weight[39] = 3e38
    says = r"step 3 of 8: a gradient is not finite; .* comes back to .*; it is row 4 of batch 2, which is 2 and 4"
    with pytest.raises(Refusal, match=says):
        finish(small.training(tmp_path, model=model, text=Spoilt()))


def test_batches_tell_which_document_a_row_begins_in() -> None:
    stream = np.arange(1, 200, dtype=np.uint16)
    stream[::20] = 0  # a document begins every 20 tokens
    train = Split(np.array_split(stream, 3), documents=10, bytes=199)
    held_out = Split([np.arange(50, dtype=np.uint16)], documents=1, bytes=50)
    shards = Shards(vocab_size=300, begin=0, splits={"train": train, "validation": held_out})
    batches = PretrainBatches(shards, context=8, sequences=4, seed=3)
    for step in range(4):
        for row in range(4):
            first = next(  # the place of the row's tokens, found by looking
                place
                for place in range(len(stream) - 7)
                if np.array_equal(stream[place : place + 8], batches.batch(step).tokens_BT[row])
            )
            document = first // 20
            assert batches.where(step, row) == f"from token {first} of the train split, in its document {document}"
