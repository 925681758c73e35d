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
        ({"window_fraction": 0.0}, 4, 2),  # a window of 1 would leave nothing to choose from
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


OPTIONS = [
    "output_gate: true, bias: true",
    "softcap: 3, scale: 0.5",
    "sinks: true, window: 40",
    "value_residual: true, kv_heads: 2",
    "output_gate: true, softcap: 20, sinks: true, value_residual: true, qk_norm: head",
]


@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_sound_with_its_options(options):
    properties.assert_sound(f"{{attention: {{kind: multi_head, {options}}}}}")


def naive(mixer, x_BTD, first_BTGK):
    """Head after head, token after token; without a position."""
    q, k, v = (part(x_BTD).unflatten(-1, (-1, 8)) for part in (mixer.query, mixer.key, mixer.value))
    if mixer.value_mix_2 is not None:
        v = mixer.value_mix_2[0] * v + mixer.value_mix_2[1] * first_BTGK
    outputs = []
    for t in range(x_BTD.size(1)):
        heads = []
        for h in range(4):
            group = h * k.size(2) // 4
            scores = (k[:, : t + 1, group] @ q[:, t, h, :, None])[..., 0] * (mixer.scale or 8**-0.5)
            if mixer.softcap is not None:
                scores = mixer.softcap * torch.tanh(scores / mixer.softcap)
            weights = scores.exp()
            nothing = mixer.sink_H[h].exp() if mixer.sink_H is not None else 0
            heads.append((weights[..., None] * v[:, : t + 1, group]).sum(1) / (weights.sum(-1, True) + nothing))
        outputs.append(torch.cat(heads, -1))
    y = torch.stack(outputs, 1)
    return mixer.out(y if mixer.gate is None else y * mixer.gate(x_BTD).sigmoid())


@pytest.mark.parametrize("options", ["kv_heads: 2", *OPTIONS[:2], "sinks: true", *OPTIONS[3:4]])
def test_it_equals_its_formula_forward_and_backward(options):
    design = f"{{position: none, attention: {{kind: multi_head, {options}}}}}"
    mixer = properties.model(design).layers[1].attention
    x_BTD = torch.randn(2, 9, 32, dtype=torch.float64)
    first_BTGK = torch.randn(2, 9, mixer.value.out_features // 8, 8, dtype=torch.float64)

    def ours(x):
        span = Span(torch.zeros(2, 9, dtype=torch.int64))
        span.first(f"values {tuple(first_BTGK.shape[2:])}", first_BTGK)
        return mixer(x, span)

    properties.assert_same(mixer, ours, lambda x: naive(mixer, x, first_BTGK), x_BTD)


def test_values_of_the_first_layer_reach_the_others_of_the_same_shape():
    layers = "{a: {attention: {kv_heads: 2}}, b: {attention: {kv_heads: 4}}}"
    design = f"{{attention: {{kind: multi_head, value_residual: true}}, layers: {layers}, pattern: [a, b, a]}}"
    properties.assert_sound(design, "width: 32, depth: 4, heads: 4")
    made = properties.model(design, depth=4)
    gave = []
    for layer in made.layers:
        layer.attention.out.register_forward_hook(lambda module, given, out_BTD: gave.append(out_BTD))
    made(properties.tokens())
    with torch.no_grad():
        made.layers[2].attention.value_mix_2[1] = 0
    made(properties.tokens())
    assert [torch.equal(before, after) for before, after in zip(gave[:4], gave[4:], strict=True)] == [
        True,
        True,
        False,
        False,
    ]
