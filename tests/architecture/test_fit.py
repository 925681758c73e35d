"""The size that is found is within the budget, the next one is not, and it looks like the size that it grew from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from lmmodel.architecture import count
from lmmodel.architecture.fit import Size, fitted, in_proportion, parameters
from tests.architecture.properties import declared


def cost(size: Size) -> float:
    """As a model's parameters grow."""
    return 4096 * size.width + 12 * size.width**2 * size.depth


@settings(deadline=None)
@given(some.integers(1, 32), some.integers(1, 64), some.integers(1, 96), some.floats(1e6, 1e12))
def test_the_size_is_within_the_budget_and_one_layer_more_is_not(heads: int, head: int, depth: int, budget: float):
    start = Size(heads * head, depth, heads)
    found = fitted(start, cost, budget)
    if found is None:
        assert cost(Size(head, 1, 1)) > budget
        return
    assert cost(found) <= budget < cost(replace(found, depth=found.depth + 1))
    assert found.width * heads == found.heads * start.width


@settings(deadline=None)
@given(some.floats(1e8, 1e12))
def test_proportions_are_kept_where_the_budget_leaves_room(budget: float):
    start = Size(256, 6, 4)
    found = fitted(start, cost, budget)
    assert found is not None
    assert found.depth / found.width == pytest.approx(start.depth / start.width, rel=0.3)


def test_a_size_grows_back_to_itself():
    start = Size(256, 6, 4)
    assert fitted(start, cost, cost(start)) == start


def test_widths_that_cannot_be_are_passed_over():
    def grouped(size: Size) -> float | None:
        return None if size.heads % 4 else cost(size)

    found = fitted(Size(256, 6, 8), grouped, 1e9)
    assert found is not None
    assert found.heads % 4 == 0
    assert fitted(Size(256, 6, 8), lambda size: None, 1e9) is None
    assert fitted(Size(256, 6, 8), grouped, 1e3) is None


def test_what_should_grow_is_written_as_a_ratio():
    told = {
        "attention": {"kind": "multi_head", "kv_heads": 2, "window": 64},
        "feed_forward": {"kind": "gated", "hidden": 640},
        "layers": {"one": {"attention": {"kv_heads": 3}}, "other": {}},
        "pattern": ["one", {"other": 2}],
    }
    found = in_proportion(told, width=256, heads=4)
    assert found["attention"] == {"kind": "multi_head", "queries_per_kv": 2, "window": 64}
    assert found["feed_forward"] == {"kind": "gated", "expansion": 2.5}
    assert found["layers"]["one"] == {"attention": {"kv_heads": 3}}  # divides no heads: refused where it is resolved
    assert found["pattern"] == told["pattern"]


@pytest.mark.parametrize(
    "design",
    ["llama3", "{head: {ahead: 1}, layers: {a: {attention: none}, b: {feed_forward: none}}, pattern: [a, a, b]}"],
)
def test_parameters_are_counted_as_they_are_measured(design: str):
    declaration = declared(design, "width: 32, depth: 7, heads: 4, context: 64")
    assert parameters(declaration) == count.measure(declaration).parameters
