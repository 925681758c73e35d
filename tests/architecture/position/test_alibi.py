"""Straight lines on scores."""

import pytest
import torch

from lmmodel.architecture.position.alibi import slopes
from tests.architecture import properties


def test_it_is_sound():
    properties.assert_sound("{position: alibi, attention: {kind: multi_head, kv_heads: 2}}")


def test_it_is_sound_in_a_window_and_with_heads_that_are_no_power_of_two():
    properties.assert_sound(
        "{position: alibi, attention: {kind: multi_head, window: 40}}", "width: 36, depth: 2, heads: 3"
    )


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (8, [2**-1, 2**-2, 2**-3, 2**-4, 2**-5, 2**-6, 2**-7, 2**-8]),
        (4, [2**-2, 2**-4, 2**-6, 2**-8]),
        (6, [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]),
        (1, [2**-8]),
    ],
)
def test_slopes_are_those_of_the_paper(heads, expected):
    assert slopes(torch.arange(heads), heads).tolist() == expected


def test_a_score_falls_by_the_slope_for_each_token_of_distance():
    position = properties.model("{position: alibi}").layers[0].attention.position
    head_H11, distance_TS = torch.arange(4)[:, None, None], torch.arange(5)[None, :]
    assert torch.equal(position.bias(head_H11, distance_TS)[1, 0], -torch.arange(5) * 2.0**-4)
