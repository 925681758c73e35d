"""What a person told about a design, with the place of every word, through merges.

A part that names a kind replaces what was there; one that names none changes only the options it lists. The same rule
holds under `like` and in `layers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lmmodel.architecture.families import PARTS
from lmmodel.params.document import Document, Keys
from lmmodel.params.refusal import Refusal

Place = tuple[Document, Keys]


@dataclass(frozen=True)
class Told:
    """Plain data, and for keys in it the place where they were written."""

    data: dict[str, Any]
    places: dict[Keys, Place] = field(default_factory=dict)
    base: Place | None = None

    @classmethod
    def at(cls, document: Document, keys: Keys, data: dict[str, Any]) -> Told:
        """`data`, written in `document` below `keys`."""
        return cls(data, {place: (document, keys + place) for place in _walk(data)}, (document, keys))

    def refuse(self, keys: Keys, text: str) -> Refusal:
        """A refusal of what stands at `keys`, wherever it was written."""
        document, place = self.place(keys)
        return document.refuse(place, text)

    def place(self, keys: Keys) -> Place:
        """Where `keys` were written; for a key that was not, its parent's place with the key behind it."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.places:
                document, place = self.places[keys[:length]]
                return document, place + keys[length:]
        if self.base is None:
            raise LookupError(f"nobody told {keys}")
        return self.base[0], self.base[1] + keys

    def below(self, key: str) -> Told:
        """What was told under `key`, a mapping (or nothing)."""
        inner = self.data.get(key) or {}
        places = {place[1:]: origin for place, origin in self.places.items() if place[:1] == (key,) and len(place) > 1}
        return Told(inner, places, self.place((key,)))

    def without(self, gone: set[Keys]) -> Told:
        """This without the options at `gone`, each a part and an option of it."""
        data = {
            part: {key: item for key, item in value.items() if (part, key) not in gone}
            if isinstance(value, dict)
            else value
            for part, value in self.data.items()
        }
        return Told(data, {place: origin for place, origin in self.places.items() if place not in gone}, self.base)

    def changed(self, change: Told, replaces: frozenset[str]) -> Told:
        """This with `change` on top. Keys in `replaces` hold parts, where a kind that is named replaces the whole."""
        data, places = dict(self.data), dict(self.places)
        for key, value in change.data.items():
            if isinstance(value, dict) and not (key in replaces and "kind" in value):
                data[key] = {**_mapping(data.get(key)), **value}
            else:
                data[key] = value
                places = {place: origin for place, origin in places.items() if place[:1] != (key,)}
        return Told(data, {**places, **change.places}, self.base or change.base)


def merged(base: Told, change: Told, whole: Told | None = None) -> Told:
    """`base` with `change` on top; an option that is changed takes the place of its alternatives.

    whole: the design's parts, where `base` and `change` are those of a layer, which may leave a kind to the design.
    """
    gone: set[Keys] = set()
    for key in PARTS:
        before, after = base.data.get(key), change.data.get(key)
        if isinstance(before, dict) and isinstance(after, dict) and "kind" not in after:
            named = before if "kind" in before or whole is None else whole.data.get(key)
            groups = _alternatives(key, named.get("kind") if isinstance(named, dict) else named)
            gone |= {(key, other) for group in groups for other in group if other not in after and {*group} & {*after}}
    found = base.without(gone).changed(change, frozenset(PARTS))
    earlier, later = base.below("layers"), change.below("layers")
    for name in earlier.data.keys() & later.data.keys():
        found.data["layers"][name] = merged(earlier.below(name), later.below(name), found).data
    return found


def _alternatives(key: str, kind: Any) -> tuple[tuple[str, ...], ...]:
    try:
        return PARTS[key].options(kind).alternatives if isinstance(kind, str) else ()
    except Refusal:
        return ()  # the unknown kind is refused, with its place, where the part is chosen


def _mapping(value: Any) -> dict[str, Any]:
    """A part as a mapping: a bare name is its kind."""
    return {"kind": value} if isinstance(value, str) else dict(value or {})


def _walk(data: Any, keys: Keys = ()) -> list[Keys]:
    """Every place in `data` that has a key."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    found: list[Keys] = []
    for key, value in items:
        found += [(*keys, key), *_walk(value, (*keys, key))]
    return found
