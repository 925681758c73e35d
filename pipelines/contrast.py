"""Two designs side by side: what differs, what is the same, and what the difference costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lmmodel.architecture.declaration import Declaration
from pipelines import describing, wording
from pipelines.drawing import Counts
from pipelines.tracking.opening import flat

Side = tuple[str, Declaration, Counts]
"""A design's name, the design, and its counts."""


def contrasted(one: Side, other: Side) -> Iterator[str]:
    """The page, line by line."""
    names = [one[0], other[0]]
    rows = list(differences(one[1], other[1]))
    changes = list(costs(one[2], other[2]))
    wide = 7 + max(len(row[0]) for row in [*rows, *changes])
    cell = 3 + max(len(text) for row in [*rows, ("", *names)] for text in row[1:])
    figure = 3 + max(len(text) for row in changes for text in row[1:3])
    yield f"{'':<{wide}}{names[0]:<{cell}}{names[1]}"
    yield "  differs" if rows else "  differs in nothing: the same declaration"
    yield from (f"    {key:<{wide - 4}}{mine:<{cell}}{theirs}".rstrip() for key, mine, theirs in rows)
    if same := _same(one[1], other[1]):
        yield from wording.entry("the same:", ", ".join(same), at=12, indent=2)
    yield ""
    yield "  costs"
    for key, mine, theirs, change in changes:
        yield f"    {key:<{wide - 4}}{mine:<{figure}}{theirs:<{figure}}{change:>9}".rstrip()


def differences(one: Declaration, other: Declaration) -> Iterator[tuple[str, str, str]]:
    """What the two do not have alike, with both values. Of parts of different kinds the kinds alone are told."""
    mine, theirs = (_flat(side) for side in (one, other))
    for key in dict.fromkeys([*mine, *theirs]):
        kind = f"{key.partition('.')[0]}.kind"
        if mine.get(key) != theirs.get(key) and (key == kind or mine.get(kind) == theirs.get(kind)):
            yield key, mine.get(key, "-"), theirs.get(key, "-")


def _flat(declaration: Declaration) -> dict[str, str]:
    """The declaration by dotted keys; the norm and the position of the whole model stand with those of the layers."""
    told = flat(declaration.dump())
    return {key.removeprefix("layers."): _number(value) for key, value in told.items()}


def _number(text: str) -> str:
    try:
        return describing.number(float(text))
    except ValueError:
        return text


def costs(one: Counts, other: Counts) -> Iterator[tuple[str, str, str, str]]:
    """What each side takes, and by how much the other takes more or less."""
    yield _change("parameters", one["parameters"], other["parameters"], _whole)
    parts = dict.fromkeys([*one["parts"], *other["parts"]])
    for part in parts:
        sides = [counts["parts"].get(part, {}).get("parameters", 0) for counts in (one, other)]
        if any(sides):
            yield _change(f"  {part}", sides[0], sides[1], _whole)
    yield _change("FLOPs a token, forward", one["flops_per_token"], other["flops_per_token"], _whole)
    yield _change("cache a token", one["cache_bytes_per_token"], other["cache_bytes_per_token"], wording.storage)
    yield _change("cache at the full context", one["cache_bytes"], other["cache_bytes"], wording.storage)
    yield _change("activations of a sequence", one["activation_bytes"], other["activation_bytes"], wording.storage)


def _change(key: str, mine: int, theirs: int, shown: Callable[[float], str]) -> tuple[str, str, str, str]:
    change = f"{theirs / mine - 1:+.1%}".replace("%", " %") if mine and theirs != mine else ""
    return key, shown(mine), shown(theirs), change


def _whole(number: float) -> str:
    return f"{number:,.0f}" if number else "-"


def _same(one: Declaration, other: Declaration) -> list[str]:
    """The parts whose kinds are alike in every layer."""
    alike = []
    for family in ("norm", "position", "attention", "feed_forward", "block"):
        kinds = [[getattr(layer, family).kind for layer in side.layers] for side in (one, other)]
        if kinds[0] == kinds[1]:
            alike.append(f"{family} {' and '.join(describing.name(kind) for kind in dict.fromkeys(kinds[0]))}")
    return alike
