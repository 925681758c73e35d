"""Intervals that hold together, and no verdict without them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipelines.significance import critical, judge

SEEDS = (1, 2, 3)


def candidates(names: str, noise: list[float], effects: list[float]) -> dict[str, dict[int, float]]:
    drawn = iter(noise)
    return {
        name: {seed: 2.0 + effect + next(drawn) for seed in SEEDS} for name, effect in zip(names, effects, strict=True)
    }


def test_with_one_candidate_the_factor_is_students() -> None:
    for freedom in (1, 2, 5, 30):
        assert critical((0.5**0.5,), freedom=freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


@pytest.mark.parametrize(("count", "freedom", "known"), [(2, 10, 2.57), (3, 10, 2.76), (4, 10, 2.89), (2, 20, 2.38)])
def test_the_factor_is_that_of_dunnetts_table(count: int, freedom: int, known: float) -> None:
    assert critical((0.5**0.5,) * count, freedom=freedom) == pytest.approx(known, abs=0.01)


def test_without_blocks_the_intervals_are_scipys() -> None:
    chance = np.random.default_rng(3)
    groups = {name: dict(enumerate(chance.normal(mean, 0.3, count))) for name, mean, count in (
        ("base", 2.0, 4), ("one", 2.5, 3), ("two", 1.9, 5)
    )}  # fmt: skip
    found = judge(groups, baseline="base", less_is_better=True)
    assert not found.blocks
    lists = {name: list(values.values()) for name, values in groups.items()}
    theirs = stats.dunnett(lists["one"], lists["two"], control=lists["base"], rng=np.random.default_rng(0))
    interval = theirs.confidence_interval(0.95)
    for place, one in enumerate(found.against):
        assert one.low == pytest.approx(interval.low[place], abs=0.01)
        assert one.high == pytest.approx(interval.high[place], abs=0.01)


def test_what_a_seed_does_to_all_alike_is_taken_out() -> None:
    """Seeds are far apart, and the candidates differ by the same in each of them but for a little."""
    values = {
        "base": {1: 2.0, 2: 3.0, 3: 4.0},
        "good": {1: 1.9, 2: 2.901, 3: 3.899},
        "same": {1: 2.001, 2: 2.999, 3: 4.0},
    }
    found = {one.name: one.verdict for one in judge(values, baseline="base", less_is_better=True).against}
    assert found == {"good": "better", "same": "cannot tell"}
    turned = {one.name: one.verdict for one in judge(values, baseline="base", less_is_better=False).against}
    assert turned == {"good": "worse", "same": "cannot tell"}
    unpaired = {**values, "same": {1: 2.001, 2: 2.999}}
    assert {one.verdict for one in judge(unpaired, baseline="base", less_is_better=True).against} == {"cannot tell"}


@pytest.mark.parametrize(
    "values",
    [
        {"base": {1: 2.0}, "other": {1: 1.0}},
        {"base": {1: 2.0, 2: 2.0}, "other": {1: 1.0, 2: 1.0}},
        {"base": {1: 0.1 + 0.2, 2: 0.3}, "other": {1: 0.3, 2: 0.3}},
        {"base": {1: 2.0, 2: 2.1}},
    ],
    ids=["one seed each", "no spread", "rounding alone", "nothing to compare"],
)
def test_without_a_spread_there_is_no_verdict(values: dict[str, dict[int, float]]) -> None:
    found = judge(values, baseline="base", less_is_better=True)
    assert found.smallest is None
    assert all(one.verdict == "cannot tell" and one.low is None for one in found.against)


noises = st.lists(st.floats(-0.1, 0.1), min_size=9, max_size=9)


@settings(max_examples=30, deadline=None)
@given(noise=noises, effects=st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3), less=st.booleans())
def test_a_verdict_is_given_exactly_where_the_interval_leaves_out_zero(
    noise: list[float], effects: list[float], less: bool
) -> None:
    found = judge(candidates("abc", noise, effects), baseline="a", less_is_better=less)
    for one in found.against:
        if one.low is None or one.high is None:
            assert one.verdict == "cannot tell"
            continue
        assert one.low <= one.difference <= one.high
        assert (one.verdict == "cannot tell") == (one.low <= 0 <= one.high)
        if one.verdict != "cannot tell":
            assert (one.verdict == "better") == ((one.difference < 0) == less)
            assert abs(one.difference) >= (found.smallest or 0)


def test_of_candidates_that_are_all_the_same_seldom_one_is_told_apart() -> None:
    """Once in twenty, for all of them together."""
    chance = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        values = {name: dict(zip(SEEDS, chance.normal(2, 0.1, 3), strict=True)) for name in "abcde"}
        found = judge(values, baseline="a", less_is_better=True)
        wrong += any(one.verdict != "cannot tell" for one in found.against)
    assert 5 <= wrong <= 40
