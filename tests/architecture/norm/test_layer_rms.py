"""LayerNorm and RMSNorm against their formulas."""

from __future__ import annotations

import pytest
import torch

from lmmodel.architecture.families import NORM
from lmmodel.architecture.sizes import Sizes
from tests.architecture import properties

SIZES = Sizes(width=24, depth=2, heads=4, head_width=6, context=64)
X = torch.randn(5, 24, dtype=torch.float64) + 2


def norm(kind, **options):
    made = NORM.load(kind)(NORM.options(kind)(**options), SIZES)
    return made.double()


def test_rms_is_its_formula():
    made = norm("rms", epsilon=0.1)
    properties.redraw(made)
    expected = X / (X.square().mean(-1, keepdim=True) + 0.1).sqrt() * made.weight
    assert properties.error(made(X), expected) < 1e-12


@pytest.mark.parametrize("bias", [True, False])
def test_layer_is_its_formula(bias):
    made = norm("layer", epsilon=0.1, bias=bias)
    properties.redraw(made)
    expected = (X - X.mean(-1, keepdim=True)) / (X.var(-1, correction=0, keepdim=True) + 0.1).sqrt() * made.weight
    assert properties.error(made(X), expected + made.bias if bias else expected) < 1e-12
    assert (made.bias is not None) == bias


def test_a_zero_centred_weight_begins_at_zero_and_scales_by_one():
    made = norm("rms", weight="zero_centered")
    assert not made.weight.any()
    assert properties.error(made(X), norm("rms")(X)) < 1e-12
    with torch.no_grad():
        made.weight.fill_(0.5)
    assert properties.error(made(X), 1.5 * norm("rms")(X)) < 1e-12


def test_a_small_zero_centred_weight_is_not_rounded_away_in_bfloat16():
    made = norm("rms", weight="zero_centered").bfloat16()
    x = torch.full((1, 24), 256.0, dtype=torch.bfloat16)
    with torch.no_grad():
        made.weight.fill_(0.003)
    assert made(x)[0, 0].float().item() == pytest.approx(1.003, abs=0.004)
    assert made(x).dtype == torch.bfloat16
