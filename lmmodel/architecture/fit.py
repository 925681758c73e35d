"""The size at which a design fills a budget, its proportions kept.

Heads keep their width, so the width grows by heads; the depth grows with the width. Of the widths whose deepest model
within the budget is about as deep as its width asks for, the one that comes nearest to the proportions is taken: its
next layer would be too much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from lmmodel.architecture.count import part_of
from lmmodel.architecture.declaration import Declaration, of_each_sort
from lmmodel.architecture.model import build

_MOST = 2**24  # heads, layers: far beyond anything that is built

_RATIOS = {"kv_heads": "queries_per_kv", "hidden": "expansion"}
"""Options that stand still while a model grows, and those that say the same in proportion to it."""


@dataclass(frozen=True)
class Size:
    """What grows; the width of a head does not."""

    width: int
    depth: int
    heads: int

    def wider(self, heads: int) -> Size | None:
        """With so many heads, and a width and a depth in proportion; None where the width would not be whole."""
        width = Fraction(self.width, self.heads) * heads
        depth = max(1, round(self.depth * heads / self.heads))
        return Size(int(width), depth, heads) if width.denominator == 1 else None


Cost = Callable[[Size], float | None]
"""What a size takes, more with every head and every layer; None where there is no such model."""


def fitted(start: Size, cost: Cost, budget: float) -> Size | None:
    """The size in the proportions of `start` that fills `budget`; None where no size is within it."""
    cost = lru_cache(maxsize=None)(cost)
    steps = _step(start, cost)
    if steps is None:
        return None
    best = _last(lambda number: _within(_wider(start, steps * number), cost, budget), _MOST)
    found = []
    for number in range(max(1, best - 1), best + 3):
        wider = _wider(start, steps * number)
        if wider and (deepest := _deepest(wider, cost, budget)):
            found.append(deepest)
    return min(found, key=lambda size: (_stretch(size, start), -size.width), default=None)


def _wider(start: Size, heads: int) -> Size | None:
    return start.wider(heads)


def _step(start: Size, cost: Cost) -> int | None:
    """Heads by which a width can grow: fewest first, as many as `start` has at the last."""
    for heads in range(1, start.heads + 1):
        sizes = [start.wider(heads * times) for times in (1, 2, 3)]
        if all(size is not None and cost(replace(size, depth=start.depth)) is not None for size in sizes):
            return heads
    return None


def _within(size: Size | None, cost: Cost, budget: float) -> bool:
    taken = None if size is None else cost(size)
    return taken is not None and taken <= budget


def _deepest(size: Size, cost: Cost, budget: float) -> Size | None:
    """The most layers within the budget at this width."""
    depth = _last(lambda number: _fits(replace(size, depth=number), cost, budget), _MOST)
    deepest = replace(size, depth=depth)
    return deepest if depth and _within(deepest, cost, budget) else None


def _fits(size: Size, cost: Cost, budget: float) -> bool:
    """Within the budget, or too shallow for its pattern of layers: then a deeper one may be."""
    taken = cost(size)
    return taken is None or taken <= budget


def _last(holds: Callable[[int], bool], most: int) -> int:
    """The last number from 1 on for which `holds` does, which is true up to somewhere; 0 where it never is."""
    high = 1
    while high <= most and holds(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _stretch(size: Size, start: Size) -> float:
    """How far from the proportions of `start`."""
    return abs(math.log(size.depth * start.width / (size.width * start.depth)))


def in_proportion(design: Any, *, width: int, heads: int) -> Any:
    """A design as it is written, with ratios in the place of sizes that should grow with the model."""
    if isinstance(design, list):
        return [in_proportion(item, width=width, heads=heads) for item in design]
    if not isinstance(design, dict):
        return design
    found = {}
    for key, value in design.items():
        whole = {"kv_heads": heads, "hidden": width}.get(key)
        if whole is None or not isinstance(value, int) or isinstance(value, bool):
            found[key] = in_proportion(value, width=width, heads=heads)
        elif key == "kv_heads" and not heads % value:
            found[_RATIOS[key]] = heads // value
        elif key == "hidden":
            found[_RATIOS[key]] = value / width
        else:
            found[key] = value
    return found


def parameters(declaration: Declaration, *, inner: bool = False) -> int:
    """Of the declared model, from one layer of each sort; `inner`: without the tables of tokens, in and out."""
    small, times = of_each_sort(declaration)
    total = 0
    for name, parameter in build(small, device="meta").named_parameters():
        if inner and part_of(name) in ("embedding", "head"):
            continue
        words = name.split(".")
        total += parameter.numel() * (times[int(words[1])] if words[0] == "layers" else 1)
    return total
