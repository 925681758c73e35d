"""Curves in characters: every point in its place."""

from __future__ import annotations

import pytest

from pipelines import plotting


@pytest.mark.parametrize("columns", ["80", "100", "120"])
def test_a_drawing_is_as_wide_as_the_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    xs = [float(x + 1) for x in range(200)]
    lines = plotting.curves({"one": (xs, [201 - x for x in xs]), "other": (xs, xs)}, under="tokens")
    assert max(map(len, lines)) <= int(columns)
    assert "o one   x other   * both" in lines[-1]
    assert lines[-2].endswith("200 tokens")
    body = [line.partition("│")[2] for line in lines[:12]]
    assert body[0].find("o") < body[-1].find("o")  # falls
    assert body[0].find("x") > body[-1].find("x")  # rises


def test_one_line_on_another_is_both() -> None:
    lines = plotting.curves({"one": ([1, 2], [1, 0]), "other": ([1, 2], [1, 0])}, under="s", rows=4)
    assert sum(line.count("*") for line in lines[:4]) == 2


def test_a_flat_line_and_a_single_point_can_be_drawn() -> None:
    assert plotting.curves({"flat": ([1, 2], [3, 3])}, under="s")
    assert plotting.curves({"point": ([1], [3])}, under="s")
