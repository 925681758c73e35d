"""Rotary, learned and no positions: their formulas, and what they mean for a model."""

from __future__ import annotations

import pytest
import torch

from lmmodel.architecture.model import build
from lmmodel.architecture.once import _FOUND
from lmmodel.architecture.position.rotary import Options, Position
from lmmodel.architecture.sizes import Sizes
from lmmodel.params.refusal import Refusal
from tests.architecture import properties

SIZES = Sizes(width=32, depth=1, heads=2, head_width=16, context=64)


def rotary(**options):
    return Position(Options(**options), SIZES)


def test_pairs_turn_as_complex_numbers_do():
    x_BTHK = torch.randn(2, 30, 3, 16, dtype=torch.float64)
    positions_BT = torch.randint(0, 500, (2, 30))
    turned = rotary(theta=700.0, fraction=0.5).rotate(x_BTHK, positions_BT)
    angles = positions_BT[..., None] * 700.0 ** (-torch.arange(4, dtype=torch.float64) / 4)
    numbers = (
        torch.complex(x_BTHK[..., :4], x_BTHK[..., 4:8]) * torch.polar(torch.ones_like(angles), angles)[:, :, None]
    )
    assert properties.error(turned, torch.cat([numbers.real, numbers.imag, x_BTHK[..., 8:]], -1)) < 1e-12


def test_products_see_the_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64)
    rotate = rotary().rotate
    products = [
        (rotate(q, torch.tensor([[start + 7]])) * rotate(k, torch.tensor([[start]]))).sum() for start in (0, 3, 900)
    ]
    assert max(products) - min(products) < 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_angles_are_exact_enough_far_out_whatever_is_turned(dtype):
    x_BTHK = torch.randn(1, 3, 2, 16)
    positions_BT = torch.tensor([[4000, 4001, 8000]])
    exact = rotary().rotate(x_BTHK.to(dtype).double(), positions_BT)
    turned = rotary().rotate(x_BTHK.to(dtype), positions_BT)
    assert turned.dtype == dtype
    assert properties.error(turned, exact) < (0.02 if dtype == torch.bfloat16 else 2e-3)


def test_frequencies_are_those_of_hugging_face_to_the_last_bit():
    x_BTHK = torch.cat([torch.ones(1, 9, 1, 8), torch.zeros(1, 9, 1, 8)], -1)
    turned = rotary(theta=500_000).rotate(x_BTHK, torch.arange(9)[None])
    frequencies = 1.0 / (500_000 ** (torch.arange(0, 16, 2, dtype=torch.int64).float() / 16))
    assert torch.equal(turned[0, :, 0, :8], torch.outer(torch.arange(9).float(), frequencies).cos())


@pytest.mark.parametrize(("fraction", "fits"), [(0.0, False), (0.25, True), (0.3, False), (1 / 16, False), (1.0, True)])
def test_what_turns_is_a_whole_number_of_pairs(fraction, fits):
    design = f"{{position: {{kind: rotary, fraction: {fraction}}}}}"
    size = "width: 32, depth: 1, heads: 2, context: 64"
    if fits:
        build(properties.declared(design, size), seed=1)(properties.tokens(1, 5))
        return
    with pytest.raises(Refusal, match=r"model.design.position.* pairs"):
        properties.declared(design, size)


def test_learned_positions_are_one_table_on_the_embedding_and_none_in_the_layers():
    made = properties.model("{position: learned}", context=50)
    assert [name for name, _ in made.named_parameters() if "position" in name] == ["position.table.weight"]
    assert made.position.table.weight.shape == (50, 32)
    x_BTD = torch.zeros(1, 3, 32, dtype=torch.float64)
    positions_BT = torch.tensor([[4, 0, 4]])
    assert torch.equal(made.position.embed(x_BTD, positions_BT)[0], made.position.table.weight[[4, 0, 4]])
    with pytest.raises(IndexError):
        made(properties.tokens(1, 51))


def test_a_design_without_positions_sees_order_by_causality_alone():
    made = properties.model("{position: none}", depth=1)
    tokens_BT = properties.tokens(1, 20)
    swapped_BT = tokens_BT[:, [1, 0, *range(2, 20)]]
    logits, swapped = made(tokens_BT), made(swapped_BT)
    assert properties.error(logits[:, 2:], swapped[:, 2:]) < 1e-12
    assert properties.error(logits[:, :2], swapped[:, :2]) > 1e-3


@pytest.mark.parametrize("packed", [False, True])
def test_angles_are_computed_once_a_pass_for_all_layers_that_turn_alike(packed, monkeypatch):
    design = "{attention: {kind: multi_head, kv_heads: 2}, layers: {near: {position: {theta: 100}}, far: {}}, "
    made = properties.model(f"{design}pattern: [near, far]}}", depth=6)
    tokens_BT = properties.tokens(2, 40)
    documents_BT = (torch.arange(40) // 15).expand(2, 40) if packed else None
    with monkeypatch.context() as patch:
        patch.setattr("lmmodel.architecture.position.rotary.once", lambda positions_BT, key, make: make())
        alone = made(tokens_BT, documents_BT=documents_BT)
    calls, table = [], Position._table
    monkeypatch.setattr(Position, "_table", lambda *told: calls.append(told[0].told.theta) or table(*told))
    assert torch.equal(made(tokens_BT, documents_BT=documents_BT), alone)
    assert calls == [100.0, 10_000.0]
    made(tokens_BT, documents_BT=documents_BT)
    assert len(calls) == 4
    assert len(_FOUND) == 0


def test_angles_are_apart_for_other_numbers_and_other_positions():
    x_BTHK, positions_BT = torch.randn(1, 5, 2, 16, dtype=torch.float64), torch.arange(5)[None]
    turned = rotary().rotate(x_BTHK, positions_BT)
    rotary().rotate(x_BTHK.float(), positions_BT)
    half = rotary().rotate(x_BTHK[..., :8], positions_BT)
    assert torch.equal(rotary().rotate(x_BTHK, positions_BT), turned)
    assert torch.equal(half, rotary().rotate(x_BTHK[..., :8], positions_BT.clone()))
    assert not torch.equal(rotary().rotate(x_BTHK, positions_BT + 1), turned)
    assert not torch.equal(rotary(theta=7.0).rotate(x_BTHK, positions_BT), turned)
