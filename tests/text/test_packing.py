from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.text.packing import fitted, packed


@given(st.lists(st.integers(1, 20), min_size=1, max_size=200), st.randoms())
def test_everything_is_packed_once_and_fits(lengths: list[int], random) -> None:
    order = list(range(len(lengths)))
    random.shuffle(order)
    rows = packed(lengths, order, room=20)
    assert sorted(member for row in rows for member in row) == sorted(order)
    assert all(sum(lengths[member] for member in row) <= 20 for row in rows)


def test_little_room_is_left() -> None:
    lengths = np.random.default_rng(0).integers(10, 90, size=3000).tolist()
    rows = packed(lengths, range(3000), room=256)
    assert sum(lengths) / (len(rows) * 256) > 0.95


def test_what_fits_is_kept_whole() -> None:
    ids, learn = fitted([1, 2, 3], [False, False, True], context=2) or ((), ())
    assert (list(ids), list(learn)) == ([1, 2, 3], [False, False, True])


def test_a_long_answer_loses_its_end() -> None:
    ids, learn = fitted(range(10), [False] * 3 + [True] * 7, context=5) or ((), ())
    assert list(ids) == [0, 1, 2, 3, 4, 5]
    assert list(learn) == [False] * 3 + [True] * 3


def test_a_long_question_loses_its_front_but_for_the_beginning() -> None:
    ids, learn = fitted(range(20), [False] * 15 + [True] * 5, context=7) or ((), ())
    assert list(ids) == [0, *range(12, 19)]
    assert list(learn) == [False] * 4 + [True] * 4


def test_without_an_answer_nothing_is_kept() -> None:
    assert fitted([1, 2], [False, False], context=9) is None


@given(st.integers(2, 40), st.integers(0, 39), st.integers(1, 30))
def test_something_to_learn_always_remains(length: int, first: int, context: int) -> None:
    learn = [False] * length
    learn[max(1, min(first, length - 1)) :] = [True] * (length - max(1, min(first, length - 1)))
    found = fitted(range(length), learn, context=context)
    assert found is not None
    ids, learnt = found
    assert len(ids) == min(length, context + 1)
    assert ids[0] == 0
    assert learnt[1:].any()
