"""The gated delta rule: step by step in plain loops, and the contract."""

import pytest
import torch
from torch.nn import functional as F

from lmmodel.architecture.attention.gated_delta import Options, inverse
from lmmodel.architecture.sizes import Sizes
from tests.architecture import properties

VARIANTS = [
    "",
    ", values_per_key: 2, value_fraction: 2, key_width: 6",
    ", decay: false, output_gate: false, convolution: 0",
]


@pytest.mark.parametrize("options", VARIANTS)
def test_it_is_sound(options):
    properties.assert_sound(f"{{attention: {{kind: gated_delta{options}}}}}")


def test_it_is_sound_beside_attention():
    layers = "{linear: {attention: gated_delta}, full: {}}"
    properties.assert_sound(f"{{layers: {layers}, pattern: [{{linear: 3}}, full]}}")


def looked_back(convolution, mixed, t, begin):
    """The short convolution, tap by tap."""
    if convolution is None:
        return mixed[:, t]
    taps = convolution.taps
    seen = [mixed[:, t - back] * convolution.weight[:, taps - 1 - back] for back in range(min(taps, t - begin + 1))]
    return F.silu(sum(seen))


def naive(mixer, x_BTD, begins):
    """One token after another, one head after another."""
    mixed = torch.cat([mixer.query(x_BTD), mixer.key(x_BTD), mixer.value(x_BTD)], dim=-1)
    learn_BTH = mixer.learn(x_BTD).sigmoid()
    outputs = []
    for t in range(x_BTD.size(1)):
        begin = max(place for place in begins if place <= t)
        q, k, v = looked_back(mixer.convolution, mixed, t, begin).split(mixer.widths, dim=-1)
        q, k = (part.unflatten(-1, (mixer.key_heads, -1)) for part in (q, k))
        q, k = (part / (part.square().sum(-1, keepdim=True) + 1e-6).sqrt() for part in (q, k))
        v = v.unflatten(-1, (mixer.value_heads, -1))
        if t == begin:
            memory = [torch.zeros(len(x_BTD), q.size(-1), v.size(-1), dtype=x_BTD.dtype)] * mixer.value_heads
        heads = []
        for h in range(mixer.value_heads):
            key, query = (part[:, h * mixer.key_heads // mixer.value_heads] for part in (k, q))
            fade = 1.0
            if mixer.step is not None:
                step = F.softplus(mixer.step(x_BTD)[:, t, h] + mixer.step_bias_H[h])
                fade = torch.exp(-mixer.log_rate_H[h].exp() * step)[:, None, None]
            faded = fade * memory[h]
            wrong = v[:, h] - (faded * key[:, :, None]).sum(-2)
            memory[h] = faded + learn_BTH[:, t, h, None, None] * key[:, :, None] * wrong[:, None, :]
            y = (memory[h] * query[:, :, None]).sum(-2) * query.size(-1) ** -0.5
            heads.append(y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * mixer.out_norm.weight)
        outputs.append(torch.cat(heads, -1))
    y = torch.stack(outputs, 1)
    return mixer.out(y if mixer.gate is None else y * F.silu(mixer.gate(x_BTD)))


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("length", [1, 5, 64, 150])
def test_it_equals_its_recurrence_forward_and_backward(options, length):
    properties.assert_its_recurrence(f"{{kind: gated_delta{options}}}", naive, length)


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_a_triangle_is_inverted(size):
    generator = torch.Generator().manual_seed(0)
    below = torch.rand(3, size, size, generator=generator).tril(-1)  # as if all keys were much alike
    exact = torch.linalg.inv(below.double() + torch.eye(size, dtype=torch.float64))
    assert properties.error(inverse(below), exact) < 1e-5 * exact.abs().max().item()


def test_its_cost_grows_linearly_with_context():
    properties.assert_linear_in_context("gated_delta")


def test_what_it_remembers_does_not_grow():
    made = properties.model("{attention: gated_delta}")
    state, tokens_BT = made.state(2, 200), properties.tokens()
    made(tokens_BT[:, :10], state=state)
    size = state.bytes()
    made(tokens_BT[:, 10:], state=state)
    assert state.bytes() == size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value_heads": 4, "values_per_key": 2}, "takes value_heads or values_per_key, not both"),
        ({"value_heads": 6}, "6 heads of values, which 4 heads of keys do not divide"),
        ({"key_fraction": 0.3}, "key_fraction 0.3 times head width 12"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options).complete(Sizes(width=48, depth=1, heads=4, head_width=12, context=64))
