"""Rates that explain what was timed, and what follows from them for a training of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lmmodel.learning.outlook import Outlook, Rates, fitted
from lmmodel.learning.rehearsal import Rehearsal, Work, rehearse
from tests.learning.test_rehearsal import declaration, section

WORKS = [Work(5e10, 1e8, 800), Work(1e10, 9e8, 2000), Work(1e8, 1e7, 3000), Work(4e10, 6e8, 300)]
SMALL = some.floats(1e-3, 1)


@given(SMALL, SMALL, SMALL)
def test_rates_are_found_from_the_times_that_they_make(flop, byte, kernel):
    rates = Rates(flop * 1e-9, byte * 1e-8, kernel * 1e-3)
    found = fitted([(work, rates.seconds(work)) for work in WORKS])
    for work in WORKS:
        assert found.seconds(work) == pytest.approx(rates.seconds(work), rel=1e-6)


@given(some.lists(some.floats(1e-4, 10), min_size=4, max_size=4))
def test_no_rate_is_ever_below_nothing(seconds):
    rates = fitted(list(zip(WORKS, seconds, strict=True)))
    assert min(rates.flop_seconds, rates.byte_seconds, rates.kernel_seconds) >= 0


@pytest.fixture(scope="module")
def rehearsed() -> tuple[Rehearsal, ...]:
    return rehearse(declaration("llama3"), section("muon", "float32"), precision="float32", sequences=(1, 2, 7))


def test_a_step_of_any_number_of_rows_follows_from_one_and_two(rehearsed):
    one, two, seven = rehearsed
    view = Outlook(one, two)
    assert view.peak_bytes(7) == pytest.approx(seven.peak_bytes, rel=0.01)
    assert view.step(7, 7).flops == pytest.approx((seven.part + seven.update).flops)
    assert view.step(7, 7).moved_bytes == pytest.approx((seven.part + seven.update).moved_bytes, rel=0.01)
    assert view.step(7, 2).flops == pytest.approx(view.step(7, 7).flops)
    assert view.step(7, 2).kernels > 3 * view.step(7, 7).kernels


def test_the_most_rows_fit_and_one_more_does_not(rehearsed):
    view = Outlook(*rehearsed[:2])
    for memory_bytes in (1e7, 3e7, 1e9):
        most = view.most_sequences(memory_bytes)
        assert view.peak_bytes(most) <= memory_bytes < view.peak_bytes(most + 1)
    assert view.most_sequences(1e6) == 0


def test_layers_computed_again_take_less(rehearsed):
    view = Outlook(*rehearsed[:2])
    assert view.peak_bytes(64, checkpointed=True) < view.peak_bytes(64)
    half = Outlook(*rehearsed[:2], narrower=0.5)
    assert half.most_sequences(1e9) > 1.9 * view.most_sequences(1e9)
