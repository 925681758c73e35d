from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmmodel.text.split import side


@given(st.text(), st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_a_larger_fraction_only_adds_groups(group: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    if side(group, fraction=small) == "validation":
        assert side(group, fraction=large) == "validation"


def test_the_fraction_is_kept() -> None:
    held_out = sum(side(f"module{number}", fraction=0.05) == "validation" for number in range(20_000))
    assert 900 < held_out < 1100


def test_sides_never_change() -> None:
    assert [name for name in map(str, range(100)) if side(name, fraction=0.05) == "validation"] == [
        "5",
        "19",
        "50",
        "97",
    ]
