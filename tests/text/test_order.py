from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.text.order import drawn, shuffled, spread


@given(st.integers(1, 3000), st.text(max_size=5))
def test_every_place_is_taken_once(count: int, key: str) -> None:
    found = shuffled(np.arange(count, dtype=np.int64), count=count, key=key)
    assert sorted(found.tolist()) == list(range(count))


@given(st.integers(1, 1 << 40), st.data())
def test_a_place_does_not_depend_on_the_others(count: int, data: st.DataObject) -> None:
    places = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=5)), dtype=np.int64)
    together = shuffled(places, count=count, key="k")
    assert together.tolist() == [shuffled(places[[at]], count=count, key="k")[0] for at in range(len(places))]
    assert (together < count).all()


def test_neighbours_are_scattered_and_keys_differ() -> None:
    places = np.arange(4096, dtype=np.int64)
    one, other = (shuffled(places, count=4096, key=key) for key in ("1 0", "1 1"))
    assert (one == other).mean() < 0.01
    for found in (one, other):
        assert abs(np.corrcoef(places, found)[0, 1]) < 0.05
        assert (np.abs(np.diff(found)) == 1).mean() < 0.01


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 3))
def test_epochs_follow_one_another_without_a_gap(count: int, sequences: int, seed: int) -> None:
    steps = -(-3 * count // sequences)
    rows = np.concatenate(
        [drawn(step, slice(None), sequences=sequences, count=count, seed=seed) for step in range(steps)]
    )
    for epoch in range(3):
        assert sorted(rows[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))


def test_some_rows_of_a_batch_are_those_rows() -> None:
    whole = drawn(7, slice(None), sequences=8, count=11, seed=3)
    parts = [drawn(7, slice(start, start + 2), sequences=8, count=11, seed=3) for start in range(0, 8, 2)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_a_part_is_spread_evenly() -> None:
    assert [part.tolist() for part in spread(10, 5, at_once=2)] == [[0, 2], [4, 6], [8]]
    assert [part.tolist() for part in spread(3, 99, at_once=9)] == [[0, 1, 2]]
    assert [part.tolist() for part in spread(3, 0, at_once=9)] == [[0]]
