"""Rotary positions beyond the context of an earlier training: which pairs are slowed, and by how much."""

from __future__ import annotations

import pytest
import torch

from lmmodel.architecture.position.rotary import Options, Position
from lmmodel.architecture.sizes import Sizes
from tests.architecture import properties


def sizes(context):
    return Sizes(width=16, depth=1, heads=1, head_width=16, context=context)


def frequencies(context, **options):
    """How far each pair turns in one place, in float32, and how much longer it gets; read off a turned vector."""
    position = Position(Options(**options), sizes(context))
    x_BTHK = torch.cat([torch.ones(8), torch.zeros(8)]).expand(1, 1, 1, 16)
    real, imaginary = position.rotate(x_BTHK.double(), torch.ones(1, 1, dtype=torch.int64)).flatten().split(8)
    return torch.atan2(imaginary, real), torch.hypot(real, imaginary)


# What transformers 5.23 computes for a head of 16 numbers.
PUBLISHED = {
    "linear": (
        {"scaling": "linear", "factor": 4.0},
        8192,
        [
            [0.25, 0.07905694097280502, 0.02500000037252903, 0.007905694656074047],
            [0.0024999999441206455, 0.0007905694656074047, 0.0002500000118743628, 7.905694656074047e-05],
        ],
        1.0,
    ),
    "yarn": (
        {"scaling": "yarn", "factor": 4.0, "original_context": 8192},
        32_768,
        [
            [1.0, 0.3162277638912201, 0.10000000149011612, 0.03162277862429619],
            [0.008124999701976776, 0.0019764236640185118, 0.00043750001350417733, 7.905694656074047e-05],
        ],
        1.138629436111989,
    ),
    "llama3": (
        {"scaling": "llama3", "theta": 500_000.0, "factor": 8.0, "original_context": 8192},
        131_072,
        [
            [1.0, 0.193922758102417, 0.03760603070259094, 0.00729266507551074],
            [0.0005248460220173001, 3.428102354519069e-05, 6.647869668086059e-06, 1.289173155782919e-06],
        ],
        1.0,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_pairs_turn_as_published_and_to_the_last_bit_in_float32(name):
    options, context, rows, longer = PUBLISHED[name]
    expected = torch.tensor(rows).flatten()
    turned, length = frequencies(context, **options)
    assert turned.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert length.tolist() == pytest.approx([longer] * 8)
    x_BTHK = torch.cat([torch.ones(8), torch.zeros(8)]).expand(1, 1, 1, 16)
    place = torch.tensor([[1000]])
    got = Position(Options(**options), sizes(context)).rotate(x_BTHK, place)[0, 0, 0, :8]
    assert torch.equal(got, (1000 * expected).cos() * longer)


def test_a_larger_theta_slows_the_slowest_pair_by_the_factor_and_the_fastest_not_at_all():
    plain, slowed = frequencies(64)[0], frequencies(64, scaling="ntk", factor=4.0)[0]
    assert slowed[0].item() == pytest.approx(plain[0].item())
    assert slowed[-1].item() == pytest.approx(plain[-1].item() / 4)
    assert bool((slowed[1:-1] < plain[1:-1]).all())


@pytest.mark.parametrize("scaling", ["linear", "ntk", "yarn", "llama3"])
def test_it_is_sound(scaling):
    properties.assert_sound(f"{{position: {{kind: rotary, scaling: {scaling}, fraction: 0.5}}}}")


@pytest.mark.parametrize(
    ("told", "factor", "original_context"),
    [
        ({}, 8.0, 512),
        ({"factor": 2.0}, 2.0, 2048),
        ({"original_context": 1024}, 4.0, 1024),
        ({"factor": 16.0, "original_context": 1024}, 16.0, 1024),
    ],
)
def test_factor_and_original_context_follow_from_one_another(told, factor, original_context):
    complete = Options(scaling="yarn", **told).complete(sizes(4096))
    assert (complete.factor, complete.original_context) == (factor, original_context)
    assert complete.complete(sizes(4096)) == complete


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 2.0}, "scaling 'none', on which factor has no effect"),
        ({"scaling": "linear", "original_context": 64}, "scaling 'linear', on which original_context has no effect"),
        ({"scaling": "llama3", "attention_factor": 2.0}, "on which attention_factor has no effect"),
        ({"scaling": "llama3", "slow_turns": 5.0}, "slow_turns 5, not below fast_turns 4"),
    ],
)
def test_what_has_no_effect_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options).complete(sizes(4096))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scaling": "yarn", "original_context": 8192}, "to a context 0.5 times as long as before, which is for at"),
        ({"scaling": "linear", "factor": 0.5}, "'linear' to a context 0.5 times as long"),
        ({"scaling": "yarn", "theta": 1}, "scaling 'yarn', for which theta 1 should be above 1"),
        ({"scaling": "yarn_untruncated", "theta": 0.5}, "'yarn_untruncated', for which theta 0.5"),
    ],
)
def test_what_would_turn_pairs_faster_or_has_no_slow_ones_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options).complete(sizes(4096))
    assert Options(scaling="yarn", factor=1, original_context=8192).complete(sizes(4096)).factor == 1
