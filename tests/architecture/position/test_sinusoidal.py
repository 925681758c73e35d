"""Waves on the embedding."""

import math

import pytest
import torch

from lmmodel.architecture.position.sinusoidal import Options, Position
from lmmodel.architecture.sizes import Sizes
from tests.architecture import properties


def test_it_is_sound():
    properties.assert_sound("{position: sinusoidal}")


def test_waves_are_those_of_the_paper():
    sizes = Sizes(width=6, depth=1, heads=1, head_width=6, context=8)
    waves = Position(Options(), sizes).embed(torch.zeros(1, 9, 6, dtype=torch.float64), torch.arange(9)[None])
    for place in range(9):
        for pair in range(3):
            angle = place / 10_000 ** (2 * pair / 6)
            assert waves[0, place, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-12)
            assert waves[0, place, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-12)


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match="width 7 is not an even number"):
        Options().complete(Sizes(width=7, depth=1, heads=1, head_width=7, context=8))
