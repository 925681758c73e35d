"""Mamba 2: step by step in plain loops, and the contract."""

import pytest
import torch
from torch.nn import functional as F

from lmmodel.architecture.attention.mamba2 import Options
from lmmodel.architecture.sizes import Sizes
from tests.architecture import properties

KIND = "kind: mamba2, state_width: 12"


@pytest.mark.parametrize("options", ["", ", groups: 2", ", heads: 2, expansion: 1.5, convolution: 1"])
def test_it_is_sound(options):
    properties.assert_sound(f"{{attention: {{{KIND}{options}}}, feed_forward: none}}")


def naive(mixer, x_BTD, begins):
    """One token after another, one head after another, the convolution tap by tap."""
    convolution, taps = mixer.convolution, mixer.convolution.taps
    mixed = torch.cat([mixer.value(x_BTD), mixer.key(x_BTD), mixer.query(x_BTD)], dim=-1)
    step_BTH = F.softplus(mixer.step(x_BTD) + mixer.step_bias_H)
    outputs = []
    for t in range(x_BTD.size(1)):
        begin = max(place for place in begins if place <= t)
        seen = [mixed[:, t - back] * convolution.weight[:, taps - 1 - back] for back in range(min(taps, t - begin + 1))]
        v, k, q = F.silu(sum(seen) + convolution.bias).split(mixer.widths, dim=-1)
        v, k, q = v.unflatten(-1, (mixer.heads, -1)), *(g.unflatten(-1, (-1, mixer.state_width)) for g in (k, q))
        if t == begin:
            memory = [0] * mixer.heads
        heads = []
        for h in range(mixer.heads):
            group = h * k.size(1) // mixer.heads
            step = step_BTH[:, t, h, None, None]
            fade = torch.exp(-mixer.log_rate_H[h].exp() * step)
            memory[h] = fade * memory[h] + step * k[:, group, :, None] * v[:, h, None, :]
            heads.append((memory[h] * q[:, group, :, None]).sum(-2) + mixer.skip_H[h] * v[:, h])
        outputs.append(torch.cat(heads, -1))
    y = torch.stack(outputs, 1) * F.silu(mixer.gate(x_BTD))
    return mixer.out(y / (y.square().mean(-1, keepdim=True) + mixer.out_norm.eps).sqrt() * mixer.out_norm.weight)


@pytest.mark.parametrize("options", ["", ", groups: 2, convolution: 2"])
@pytest.mark.parametrize("length", [1, 5, 64, 150])
def test_it_equals_its_recurrence_forward_and_backward(options, length):
    properties.assert_its_recurrence(f"{{{KIND}{options}}}", naive, length)


def test_its_cost_grows_linearly_with_context():
    properties.assert_linear_in_context(f"{{{KIND}}}")


def test_steps_begin_within_their_range():
    mixer = properties.build(properties.declared("{attention: mamba2}"), seed=3).layers[0].attention
    step_H = F.softplus(mixer.step_bias_H)
    assert step_H.min() > 0.00099
    assert step_H.max() < 0.101
    assert mixer.log_rate_H.exp().min() > 0.99
    assert mixer.log_rate_H.exp().max() < 16.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expansion": 1.51}, "no whole number"),
        ({"expansion": 1.125}, "the head width 12 does not divide: say heads"),
        ({"heads": 5}, "5 heads do not divide"),
        ({"groups": 3}, "3 groups do not divide"),
    ],
)
def test_what_does_not_divide_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options).complete(Sizes(width=48, depth=1, heads=4, head_width=12, context=64))
