"""Numbers, times and tables as a person reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import wording


@pytest.mark.parametrize(
    ("number", "text"),
    [(5_771_264, "5.77 M"), (98.3e12, "98.3 T"), (640, "640"), (12_900, "12.9 k"), (0.5, "0.50"), (999_999, "1.00 M")],
)
def test_a_number_is_said_by_its_size(number: float, text: str) -> None:
    assert wording.short(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.94, "0.9 s"),
        (9.96, "10 s"),
        (46.2, "46 s"),
        (59.7, "1 min"),
        (192.3, "3 min 12 s"),
        (180, "3 min"),
        (3600, "1 h"),
        (7512, "2 h 5 min"),
    ],
)
def test_a_time_is_said_in_its_units(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(3_072, "3,072 B"), (786_432, "786 kB"), (73e6, "73.0 MB")])
def test_bytes_are_said_by_their_size(count: int, text: str) -> None:
    assert wording.storage(count) == text


@pytest.mark.parametrize(("number", "text"), [(1, "once"), (2.0, "twice"), (3.9977, "4.0 times"), (0.4, "0.4 times")])
def test_so_many_times(number: float, text: str) -> None:
    assert wording.times(number) == text


def test_words_are_listed() -> None:
    assert wording.listed([]) == ""
    assert wording.listed(["a"]) == "a"
    assert wording.listed(["a", "b", "c"]) == "a, b and c"
    assert wording.listed(["a", "b"], "or") == "a or b"


@pytest.mark.parametrize(
    ("words", "text"),
    [(["a"], "a"), (["a", "b", "c", "d"], "a, b, c and d"), ([*"abcde"], "a, b, c and 2 more")],
)
def test_of_many_words_a_few_are_said(words: list[str], text: str) -> None:
    assert wording.few(words) == text


def test_a_table_lines_up() -> None:
    assert wording.table([("a", "1"), ("long", "22")], "<>", indent=1, gap=2) == [" a      1", " long  22"]
    assert wording.table([], "<>") == []


@given(st.text(st.characters(codec="ascii", categories=["L"]), max_size=30), st.lists(st.text("ab", min_size=1)))
def test_an_entry_keeps_its_words_and_its_column(head: str, words: list[str]) -> None:
    lines = wording.entry(head, " ".join(words), at=12, indent=2, columns=60)
    assert all(line.startswith(" " * 12) for line in lines[1:])
    assert " ".join(lines).split() == [*head.split(), *words]
    assert all(len(line) <= 60 for line in lines if len(line.split()) > 1 + bool(head))
