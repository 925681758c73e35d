"""Sound designs look healthy; each kind of trouble is caught by the soft check that is there for it."""

from __future__ import annotations

import pytest

from lmmodel.architecture import soft
from lmmodel.architecture.causes import AT_RANDOM
from lmmodel.architecture.finding import Finding
from tests.architecture import properties
from tests.architecture.faulty import NOISE, mixer

BLOCK = """
    from torch import nn
    from lmmodel.architecture.block.prenorm import Block as PreNorm, Options as PreNormOptions
    from lmmodel.params.settings import Settings

    class Options(PreNormOptions):
        pass

    class Block(PreNorm):
        ends_normed = False

        def forward(self, x_BTD, span):
            return {gives}
"""
NORM = """
    import torch
    from torch import nn
    from lmmodel.params.settings import Settings

    class Options(Settings):
        pass

    class Norm(nn.Module):
        def __init__(self, options, sizes):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(sizes.width))

        def forward(self, x):
            return {gives}
"""
RMS = "x / x.square().mean(-1, keepdim=True).sqrt() * self.weight"
DRAWN = """
    def prepare(self, sizes):
        self.scale = nn.Parameter(torch.ones(sizes.width))
    def initialise(self, generator):
        nn.init.normal_(self.scale, generator=torch.Generator().manual_seed(__import__("time").time_ns()))
    def mix(self, q, k, v, span):
        return attend(q, *span.extend(self, k, v), span) * self.scale.unflatten(0, (self.heads, -1))
"""
ELSEWHERE = """
    def mix(self, q, k, v, span):
        k, v = span.extend(self, k, v)
        return attend(q, k + 1000, v, span) + attend(q, k, v + 1000, span) - 1000
"""


def found(declaration, name: str) -> Finding:
    (finding,) = soft.soft(declaration, only=[name])
    assert finding.name == name
    return finding


def test_a_stream_that_every_layer_multiplies_fails(own):
    finding = found(own(BLOCK.format(gives="2 * super().forward(x_BTD, span)"), "block"), "depth")
    assert finding.stops
    assert "each layer multiplies the stream by" in finding.found
    assert "norm" in finding.cause


def test_a_stream_that_grows_a_little_too_fast_is_doubtful_and_stops_nothing(own):
    finding = found(own(BLOCK.format(gives="1.25 * super().forward(x_BTD, span)"), "block"), "depth")
    assert (finding.verdict, finding.stops) == ("doubtful", False)


def test_gradients_that_every_layer_multiplies_fail(own):
    gives = "(lambda y: y.detach() + 3 * (y - y.detach()))(super().forward(x_BTD, span))"
    finding = found(own(BLOCK.format(gives=gives), "block"), "depth")
    assert finding.stops
    assert "each layer multiplies the gradient by" in finding.found


def test_a_stream_that_overflows_fails(own):
    finding = found(own(BLOCK.format(gives="1e6 * super().forward(x_BTD, span)"), "block"), "depth")
    assert "not all numbers" in finding.found


def test_logits_that_are_too_large_from_the_start_are_doubted_and_then_fail():
    assert found(properties.declared("{initial: {std: 0.2}}"), "first loss").verdict == "doubtful"
    finding = found(properties.declared("{initial: {std: 4}}"), "first loss")
    assert finding.verdict == "FAILED"
    assert "initial.std" in finding.cause


def test_numbers_that_bfloat16_cannot_hold_are_told(own):
    assert found(own(mixer(ELSEWHERE)), "bfloat16").verdict in ("doubtful", "FAILED")
    lifted = found(own(NORM.format(gives=RMS.replace("self.weight", "self.weight.float()")), "norm"), "bfloat16")
    assert lifted.stops
    assert "bfloat16" in lifted.found or "dtype" in lifted.found


def test_initial_values_that_do_not_follow_from_the_seed_are_named(own):
    finding = found(own(mixer(DRAWN)), "seed")
    assert finding.stops
    assert "layers.0.attention.scale is not the same" in finding.found
    assert finding.component == "attention experiments/part.py with position rotary in layer 0"


def test_noise_in_eval_mode_is_not_the_same_twice(own):
    finding = found(own(mixer(NOISE)), "seed")
    assert finding.stops
    assert "the same tokens twice differ" in finding.found
    assert finding.cause == AT_RANDOM


@pytest.mark.parametrize(
    "design",
    [
        "gpt2",
        "llama3",
        "{block: postnorm, norm: layer}",
        "{block: reordered}",
        "{norm: none}",
        "{feed_forward: experts}",
    ],
)
def test_sound_designs_look_healthy(design):
    findings = list(soft.soft(properties.declared(design)))
    assert [finding.name for finding in findings] == list(soft.SOFT)
    assert [finding.text for finding in findings if not finding.passed] == []


def test_what_cannot_be_built_is_left_to_the_hard_checks(own):
    assert list(soft.soft(own(mixer("def prepare(self, sizes):\n    raise ValueError('odd')")))) == []
