"""Norms against their formulas, and in whole models."""

import pytest
import torch

from lmmodel.architecture.families import NORM
from lmmodel.architecture.sizes import Sizes
from tests.architecture import properties

SIZES = Sizes(width=24, depth=2, heads=4, head_width=6, context=64)


def norm(kind, **options):
    made = NORM.load(kind)(NORM.options(kind)(**options), SIZES).double()
    properties.redraw(made)
    return made


@pytest.mark.parametrize("kind", NORM.names())
def test_a_norm_is_sound_around_parts_and_heads(kind):
    properties.assert_sound(f"{{norm: {kind}, attention: {{kind: multi_head, qk_norm: head}}}}")


@pytest.mark.parametrize("kind", NORM.names())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_norm_keeps_shape_and_precision(kind, dtype):
    x = torch.randn(2, 3, 24, dtype=dtype)
    y = norm(kind).to(dtype)(x)
    assert (y.shape, y.dtype) == (x.shape, dtype)


def test_dynamic_tanh_is_its_formula():
    made, x = norm("dynamic_tanh", steepness=0.7), torch.randn(5, 24, dtype=torch.float64)
    assert properties.error(made(x), made.weight * torch.tanh(made.steepness * x) + made.bias) < 1e-14


def test_dynamic_tanh_begins_with_its_steepness():
    made = NORM.load("dynamic_tanh")(NORM.options("dynamic_tanh")(steepness=0.25), SIZES)
    assert torch.equal(made(torch.ones(24)), torch.tanh(torch.full((24,), 0.25)))


def test_none_gives_back_what_it_gets():
    x = torch.randn(3, 24)
    assert norm("none")(x) is x
    assert not list(norm("none").parameters())


def test_rms_may_have_no_weight():
    x = torch.randn(5, 24, dtype=torch.float64)
    made = norm("rms", weight="none", epsilon=1e-12)
    assert not list(made.parameters())
    assert properties.error(made(x), x / x.square().mean(-1, keepdim=True).sqrt()) < 1e-9
    properties.assert_sound("{norm: {kind: rms, weight: none}, attention: {qk_norm: head}, embedding: {norm: true}}")
