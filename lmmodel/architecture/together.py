"""What of a layer goes together: decided by what each kind declares, never by a central list.

A position says what it acts on; a mixer what it honours, that it orders itself, and what part of a head it hands over.
"""

from __future__ import annotations

from typing import Any

from lmmodel.architecture.families import ATTENTION, POSITION
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.told import Told
from lmmodel.params.kinds import Chosen, Family
from lmmodel.params.refusal import Refusal

_FREE = ("nothing", "embedding")
_ACTS = {"scores": "adds to attention scores", "queries and keys": "turns queries and keys"}


def go_together(told: Told, parts: dict[str, Chosen], sizes: Sizes, shared: Chosen) -> Chosen:
    """The layer's position, complete; refused where the attention has no use for it or turns what it does not fit.

    shared: the model's position. One that acts on the embedding is every layer's, so none has one of its own.
    """
    position, attention = parts["position"], parts["attention"]
    acts_on = declared(POSITION, position, "acts_on")
    if acts_on not in (*_FREE, *_ACTS):
        choices = ", ".join(f"'{choice}'" for choice in (*_FREE, *_ACTS))
        raise told.refuse(("position",), f"'{position.kind}' should say acts_on, one of {choices}; it says {acts_on!r}")
    if acts_on == "embedding" and position.dump() != shared.dump():
        text = f"'{position.kind}' acts on the embedding, which all layers share: say it beside `layers`"
        raise told.refuse(("position",), text)
    if acts_on in _FREE:
        return _complete(told, position, sizes)
    if ATTENTION.declares(attention.kind, "orders_itself", attention.file):
        return _passing(position, sizes)
    honours = declared(ATTENTION, attention, "honours")
    if acts_on not in (honours or ()):
        if declared(ATTENTION, attention, "orders_itself"):
            return _passing(position, sizes)
        if not isinstance(honours, frozenset):
            example = 'frozenset({"queries and keys"})'
            raise told.refuse(("attention",), f"'{attention.kind}' should say what it honours, such as {example}")
        raise told.refuse(("position",), _no_use(told, position, attention, acts_on, honours))
    turned = getattr(attention.options, "positioned", lambda whole: whole)(sizes)
    return _complete(told, position, turned, "" if turned == sizes else f" with attention '{attention.kind}'")


def on_the_embedding(told: Told, position: Chosen, sizes: Sizes) -> Chosen:
    """The model's position, complete: it is used where it acts on the embedding, and otherwise by layers alone."""
    used = declared(POSITION, position, "acts_on") == "embedding"
    return _complete(told, position, sizes) if used else _passing(position, sizes)


def declared(family: Family, chosen: Chosen, name: str) -> Any:
    """What a kind's class says `name` is: read off its file or, where it only inherits it, off the class itself."""
    said = family.declares(chosen.kind, name, chosen.file)
    if said is not None or not family.is_own(chosen.kind):
        return said
    try:
        return getattr(family.load(chosen.kind, chosen.file), name, None)
    except Exception as error:  # whatever a person's own file may raise
        raise Refusal(f"{chosen.kind}: cannot be imported: {type(error).__name__}: {error}") from None


def _no_use(told: Told, position: Chosen, attention: Chosen, acts_on: str, honours: frozenset[str]) -> str:
    fitting = [name for name in POSITION.names() if POSITION.declares(name, "acts_on") in {*honours, *_FREE}]
    document, place = told.place(("attention",))
    where = f" (line {document.line(place)})" if document.line(place) else ""
    return (
        f"'{position.kind}' {_ACTS[acts_on]}, and attention '{attention.kind}'{where} has no use for that. "
        f"With '{attention.kind}' go {', '.join(fitting)}"
    )


def _complete(told: Told, position: Chosen, sizes: Sizes, beside: str = "") -> Chosen:
    """At the width that is turned: a mixer that turns a part of each head says `Options.positioned(sizes)`."""
    try:
        return Chosen(position.kind, position.options.complete(sizes), position.file)
    except ValueError as error:
        raise told.refuse(("position",), f"'{position.kind}'{beside} {error}") from None


def _passing(position: Chosen, sizes: Sizes) -> Chosen:
    """One that has nothing to do need not fit: often it is the default, which nobody told."""
    try:
        return Chosen(position.kind, position.options.complete(sizes), position.file)
    except ValueError:
        return position
