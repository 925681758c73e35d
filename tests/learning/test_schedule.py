import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.learning.families import SCHEDULE

fractions = st.floats(0, 1)


@pytest.mark.parametrize("kind", SCHEDULE.names())
@given(warmup=fractions, spent=fractions)
def test_rates_lie_between_nothing_and_the_full_rate(kind: str, warmup: float, spent: float) -> None:
    told = {"warmup_fraction": warmup} | ({"decay_fraction": 1 - warmup} if kind == "warmup_stable_decay" else {})
    rate = SCHEDULE.load(kind)(SCHEDULE.options(kind).model_validate(told), spent)
    assert 0 <= rate <= 1


@pytest.mark.parametrize("kind", SCHEDULE.names())
def test_the_full_rate_is_reached_when_the_warmup_ends(kind: str) -> None:
    options = SCHEDULE.options(kind)(warmup_fraction=0.25)
    assert SCHEDULE.load(kind)(options, 0.25) == pytest.approx(1)
    assert SCHEDULE.load(kind)(options, 0.125) == pytest.approx(0.5)
    assert SCHEDULE.load(kind)(options, 0.0) == 0


@pytest.mark.parametrize("kind", sorted(set(SCHEDULE.names()) - {"constant"}))
@given(one=st.floats(0.1, 1), other=st.floats(0.1, 1))
def test_after_the_warmup_rates_only_fall(kind: str, one: float, other: float) -> None:
    schedule, options = SCHEDULE.load(kind), SCHEDULE.options(kind)(warmup_fraction=0.1)
    early, late = sorted([one, other])
    assert schedule(options, early) >= schedule(options, late) - 1e-12


@pytest.mark.parametrize("kind", sorted(set(SCHEDULE.names()) - {"constant"}))
def test_what_is_left_at_the_end_is_final(kind: str) -> None:
    assert SCHEDULE.load(kind)(SCHEDULE.options(kind)(final=0.2), 1.0) == pytest.approx(0.2)


def test_warmup_stable_decay_stays_until_its_decay_begins() -> None:
    options = SCHEDULE.options("warmup_stable_decay")(warmup_fraction=0.1, decay_fraction=0.4)
    schedule = SCHEDULE.load("warmup_stable_decay")
    assert [schedule(options, spent) for spent in (0.1, 0.3, 0.6)] == [1, 1, 1]
    assert schedule(options, 0.8) == pytest.approx(0.5)


def test_a_square_root_falls_faster_at_first() -> None:
    schedule, options = SCHEDULE.load("warmup_stable_decay"), SCHEDULE.options("warmup_stable_decay")
    assert schedule(options(shape="square_root"), 0.6) < schedule(options(shape="linear"), 0.6)


def test_warmup_and_decay_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="together are at most 1"):
        SCHEDULE.options("warmup_stable_decay")(warmup_fraction=0.6, decay_fraction=0.5)
