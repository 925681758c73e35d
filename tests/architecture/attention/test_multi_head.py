"""Multi-head attention: what its options mean, and which of them do not go together."""

from __future__ import annotations

import pytest
import torch

from lmmodel.architecture.attention.multi_head import Options
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.refusal import Refusal
from tests.architecture import properties

SIZES = Sizes(width=32, depth=2, heads=4, head_width=8, context=64)


@pytest.mark.parametrize(
    ("told", "kv_heads", "window"),
    [
        ({}, 4, None),
        ({"kv_heads": 2}, 2, None),
        ({"queries_per_kv": 4}, 1, None),
        ({"window": 7}, 4, 7),
        ({"window_fraction": 0.25}, 4, 16),
        ({"window_fraction": 0.0}, 4, 1),
    ],
)
def test_ratios_become_numbers(told, kv_heads, window):
    complete = Options(**told).complete(SIZES)
    assert (complete.kv_heads, complete.window) == (kv_heads, window)
    assert complete.queries_per_kv is complete.window_fraction is None
    assert complete.complete(SIZES) == complete


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("kv_heads: 3", "4 heads, which kv_heads 3 does not divide"),
        ("queries_per_kv: 3", "4 heads, which queries_per_kv 3 does not divide"),
        ("kv_heads: 2, queries_per_kv: 2", "kv_heads or queries_per_kv, not both"),
        ("window: 2, window_fraction: 0.5", "window or window_fraction, not both"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(told, words):
    with pytest.raises(Refusal, match=rf"params.yaml:1: model.design.attention.*{words}"):
        properties.declared(f"{{attention: {{kind: multi_head, {told}}}}}")


def test_a_token_reaches_no_further_back_than_its_window():
    mixer = properties.model("{attention: {window: 5}}").layers[0].attention
    x_BTD = torch.randn(1, 30, 32, dtype=torch.float64, requires_grad=True)
    y_BTD = mixer(x_BTD, Span(torch.zeros(1, 30, dtype=torch.int64)))
    (reach,) = torch.autograd.grad(y_BTD[0, 20].sum(), x_BTD)
    assert reach[0].abs().sum(-1).nonzero().flatten().tolist() == [16, 17, 18, 19, 20]


def test_a_window_bounds_what_is_remembered():
    made = properties.model("{attention: {window: 5, kv_heads: 1}}", depth=1)
    state = made.state(1, 100)
    made(properties.tokens(1, 100), state=state)
    assert state.bytes() == 2 * 4 * 8 * 8


@pytest.mark.parametrize(("where", "widths"), [("none", None), ("head", (8, 8)), ("width", (32, 16))])
def test_queries_and_keys_are_normed_as_told(where, widths):
    mixer = properties.model(f"{{attention: {{kv_heads: 2, qk_norm: {where}}}}}").layers[0].attention
    if widths is None:
        assert mixer.query_norm is None
        assert mixer.key_norm is None
        return
    assert (mixer.query_norm.weight.numel(), mixer.key_norm.weight.numel()) == widths
    seen = []
    mixer.query_norm.register_forward_hook(lambda module, given, gave: seen.append(gave / module.weight))
    mixer(torch.randn(1, 9, 32, dtype=torch.float64), Span(torch.zeros(1, 9, dtype=torch.int64)))
    over = seen[0] if where == "head" else seen[0].flatten(2)
    assert torch.allclose(over.square().mean(-1), torch.ones(over.shape[:-1], dtype=torch.float64), atol=1e-4)


def test_heads_may_be_wider_than_the_model():
    made = properties.model("{attention: {kv_heads: 2}}", heads=4)
    wide = properties.declared("{attention: {kv_heads: 2}}", "width: 32, depth: 1, heads: 4, head_width: 24")
    assert made.layers[0].attention.query.out_features == 32
    assert wide.layers[0].attention.options.kv_heads == 2
    mixer = properties.build(wide, seed=1).layers[0].attention
    assert (mixer.query.out_features, mixer.key.out_features, mixer.out.in_features) == (96, 48, 96)


@pytest.mark.parametrize("bias", [True, False])
def test_biases_stand_on_every_linear_or_on_none(bias):
    mixer = properties.model(f"{{attention: {{bias: {str(bias).lower()}}}}}").layers[0].attention
    linears = (mixer.query, mixer.key, mixer.value, mixer.out)
    assert [linear.bias is not None for linear in linears] == [bias] * 4
