from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lmmodel.architecture.model import Model, build
from lmmodel.architecture.resolve import resolve
from lmmodel.learning import rehearsal, saving
from lmmodel.learning.loss import Batch, Objective
from lmmodel.learning.recomputing import recomputed
from lmmodel.params.document import Document
from tests.learning import small
from tests.learning.test_training import finish, same

DESIGNS: list[dict[str, Any]] = [
    {},
    {"attention": {"kind": "multi_head", "value_residual": True}, "block": {"kind": "prenorm", "scalars": "stream"}},
    {"feed_forward": {"kind": "experts", "experts": 4, "active": 2}},
    {"attention": "gated_delta"},
    {"head": {"ahead": 1}},
]


@pytest.mark.parametrize("precision", ["float32", "autocast", "bfloat16"])
@pytest.mark.parametrize("design", DESIGNS)
def test_a_training_ends_in_the_same_bytes_with_it(tmp_path: Path, design: dict[str, Any], precision: str) -> None:
    told = small.section(precision=precision)
    kept = {}
    for wanted in (False, True):
        plan, model = small.plan(told, activation_checkpointing=wanted), small.model(**design)
        training = small.training(tmp_path / str(wanted), told=told, plan=plan, model=model)
        finish(training)
        state = saving.states(tmp_path / str(wanted))[-1] / "state.safetensors"
        kept[wanted] = (state.read_bytes(), training.rows)
    assert kept[True] == kept[False]


def test_what_draws_at_random_draws_the_same_again(tmp_path: Path) -> None:
    told, found = small.section(), {}
    for wanted in (False, True):
        model = small.model()
        out = model.layers[1].attention.out
        out.register_forward_hook(lambda module, given, gave: gave * (torch.rand_like(gave) > 0.3))
        plan = small.plan(told, activation_checkpointing=wanted)
        found[wanted] = finish(small.training(tmp_path / str(wanted), told=told, plan=plan, model=model))
    assert same(found[True], found[False])


def deep(depth: int) -> Model:
    data = {"model": {"width": 64, "depth": depth, "heads": 4, "context": 128, "design": {}}}
    return build(resolve(Document("deep", data, {}), vocab_size=small.VOCABULARY), seed=0)


def peak_bytes(model: Model, *, wanted: bool) -> int:
    """Of what a forward and a backward pass have alive at once, beyond what was there before."""
    tokens_BT = torch.zeros(8, 128, dtype=torch.int64)
    with rehearsal._Watch() as watch, recomputed(model, wanted=wanted):
        for _ in range(2):  # the second finds gradients there
            before = watch.live
            watch.begin()
            Objective(model)(Batch(tokens_BT, tokens_BT)).total.backward()
            _, peak = watch.begin()
    return peak - before


def test_a_layer_more_costs_a_fraction_of_the_memory() -> None:
    each = {}
    for wanted in (False, True):
        few, many = (peak_bytes(deep(depth), wanted=wanted) for depth in (4, 10))
        each[wanted] = (many - few) / 6
    assert 0 < each[True] < each[False] / 8
    assert each[True] == pytest.approx(8 * 128 * 64 * 4, rel=0.6)  # the layer's input, little else


def test_the_model_is_left_as_it_was() -> None:
    model = small.model()
    with recomputed(model):
        assert "forward" in vars(model.layers[0])
    assert not any("forward" in vars(layer) for layer in model.layers)


def test_it_is_written_down_where_it_is_wanted() -> None:
    told = small.section()
    assert "activation_checkpointing" not in small.plan(told).record()
    assert small.plan(told, activation_checkpointing=True).record()["activation_checkpointing"] is True


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_it_differs_by_rounding_alone(tmp_path: Path) -> None:
    told, found = small.section(optimizer={"kind": "adamw", "learning_rate": 0.01}), {}
    for wanted in (False, True):
        plan = small.plan(told, compile=True, activation_checkpointing=wanted)
        training = small.training(tmp_path / str(wanted), told=told, plan=plan)
        found[wanted] = finish(training)
        assert training.plan.compiled
    for name, value in found[True].items():
        assert torch.allclose(value, found[False][name], atol=2e-4), name
