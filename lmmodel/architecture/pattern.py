"""How layers that differ follow one another: `[local, local, global]`, repeated to the depth.

[{linear: 3}, full]                            three of one, one of the other
{first: [{dense: 2}], repeat: [sparse]}        two of one, then the other to the end; `last` likewise
"""

from __future__ import annotations

from typing import Any

from lmmodel.architecture.told import Told
from lmmodel.params.document import Keys
from lmmodel.params.refusal import suggestion

_PARTS = ("first", "repeat", "last")


def order(design: Told, layers: tuple[str, ...], depth: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The name of every layer, `depth` of them, and remarks on what a person may not expect."""
    pattern = design.data["pattern"]
    if isinstance(pattern, list):
        pattern, listed = {"repeat": pattern}, True
    elif isinstance(pattern, dict):
        listed = False
        for key in pattern:
            if key not in _PARTS:
                raise design.refuse(("pattern", key), f"is not a part of a pattern; there are {', '.join(_PARTS)}")
    else:
        raise design.refuse(("pattern",), "should be a list of layers, or {first: [...], repeat: [...], last: [...]}")
    told = {
        key: _entries(design, ("pattern",) if listed else ("pattern", key), entries, layers)
        for key, entries in pattern.items()
    }
    names, remarks = _fill(design, told, depth)
    unused = [name for name in layers if name not in names]
    return names, (*remarks, *(f"layer '{name}' is not in the pattern" for name in unused))


def _entries(design: Told, keys: Keys, entries: Any, layers: tuple[str, ...]) -> tuple[str, ...]:
    """The names that a list of entries stands for."""
    if not isinstance(entries, list) or not entries:
        raise design.refuse(keys, "should be a list of layers, such as [local, global]")
    names: list[str] = []
    for index, entry in enumerate(entries):
        place: Keys = (*keys, index)
        name, count = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (entry, 1)
        if not isinstance(name, str) or not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise design.refuse(place, "should be the name of a layer, or {NAME: how many}")
        if name not in layers:
            raise design.refuse(
                place, f"'{name}' is not one of the layers {', '.join(layers)}{suggestion(name, layers)}"
            )
        names += [name] * count
    return tuple(names)


def _fill(design: Told, told: dict[str, tuple[str, ...]], depth: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """First, then as many rounds as fit, then last."""
    first, repeat, last = (told.get(key, ()) for key in _PARTS)
    room = depth - len(first) - len(last)
    if room < 0 or (room > 0 and not repeat):
        have = f"first and last are {len(first) + len(last)} layers"
        raise design.refuse(("pattern",), f"does not come to a depth of {depth}: {have}, and {_repeats(repeat)}")
    rounds = (repeat * (room // len(repeat) + 1))[:room] if repeat else ()
    cut = room % len(repeat) if repeat else 0
    remarks = (f"the pattern's last round is cut: {cut} of its {len(repeat)} layers fit the depth",) if cut else ()
    return first + rounds + last, remarks


def _repeats(repeat: tuple[str, ...]) -> str:
    return "repeat has no room" if repeat else "there is no repeat to fill the rest"
