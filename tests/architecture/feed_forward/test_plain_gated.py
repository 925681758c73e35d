"""Plain and gated feed-forward parts: formulas, activations, inner width."""

from __future__ import annotations

import pytest
import torch

from lmmodel.architecture.activation import ACTIVATIONS
from lmmodel.architecture.families import FEED_FORWARD
from lmmodel.architecture.sizes import Sizes
from lmmodel.params.refusal import Refusal
from tests.architecture import properties

SIZES = Sizes(width=32, depth=2, heads=4, head_width=8, context=64)
X = torch.linspace(-4, 4, 33, dtype=torch.float64)
FORMULAS = {
    "relu": lambda x: x.clamp(min=0),
    "relu_squared": lambda x: x.clamp(min=0) ** 2,
    "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "gelu_tanh": lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + torch.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_formula(name):
    assert properties.error(ACTIVATIONS[name](X), FORMULAS[name](X)) < 1e-12


@pytest.mark.parametrize("kind", ["plain", "gated"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_part_is_its_formula(kind, activation, bias):
    options = FEED_FORWARD.options(kind)(activation=activation, bias=bias, hidden=20)
    part = FEED_FORWARD.load(kind)(options, SIZES).double()
    x_BTD = torch.randn(2, 3, 32, dtype=torch.float64)
    bent = (
        FORMULAS[activation](part.gate(x_BTD)) * part.up(x_BTD)
        if kind == "gated"
        else FORMULAS[activation](part.up(x_BTD))
    )
    assert properties.error(part(x_BTD, None), part.out(bent)) < 1e-12
    assert all((layer.bias is not None) == bias for layer in part.children())
    assert part.out.in_features == 20


@pytest.mark.parametrize(
    ("kind", "told", "hidden"),
    [
        ("plain", {}, 128),
        ("gated", {}, 88),
        ("gated", {"expansion": 3.5}, 112),
        ("gated", {"expansion": 2.7}, 88),
        ("plain", {"expansion": 0.01}, 8),
        ("plain", {"hidden": 7}, 7),
    ],
)
def test_the_inner_width_is_a_number_or_a_ratio(kind, told, hidden):
    complete = FEED_FORWARD.options(kind)(**told).complete(SIZES)
    assert (complete.hidden, complete.expansion) == (hidden, None)
    assert complete.complete(SIZES) == complete


@pytest.mark.parametrize("kind", ["plain", "gated"])
def test_a_number_and_a_ratio_are_refused(kind):
    with pytest.raises(Refusal, match=r"params.yaml:1: model.design.feed_forward.*hidden or expansion, not both"):
        properties.declared(f"{{feed_forward: {{kind: {kind}, hidden: 8, expansion: 2}}}}")
