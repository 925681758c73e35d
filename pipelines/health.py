"""How the models were when they were last validated, noted beside the outputs as times are: for people alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from lmmodel import folder
from pipelines import paths

NOTES = paths.OWN / "health"

_COLLAPSED_NATS, _ASLEEP, _UNEVEN = 0.05, 0.5, 4.0


def note(stage: str, identity: str, step: int, figures: Mapping[str, float]) -> None:
    """Remember the figures of a work, in place of earlier ones; a disk that is full does not stop a training."""
    with suppress(OSError):
        told = {"identity": identity, "step": step, "figures": dict(figures)}
        folder.write(NOTES / f"{stage}.json", folder.canonical(told))


def known(stage: str, identity: str) -> dict[str, Any] | None:
    """What was noted of this very work."""
    try:
        told: dict[str, Any] = json.loads((NOTES / f"{stage}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if told.get("identity") == identity else None


def summary(figures: Mapping[str, float]) -> str:
    """The figures in a line, and what in them is not as it should be."""
    return "; ".join([*_ranges(figures), *_complaints(figures)])


def _ranges(figures: Mapping[str, float]) -> Iterator[str]:
    entropies, asleep = _of("attention_entropy", figures), _of("dead_units", figures)
    updates, loads = _of("update", figures), _of("expert_load_largest", figures)
    if updates:
        yield f"an update moves parts by {min(updates.values()):.1g} to {max(updates.values()):.1g} of their size"
    if entropies:
        yield f"attention entropy {min(entropies.values()):.2f} to {max(entropies.values()):.2f} nats"
    if asleep:
        yield f"{sum(asleep.values()) / len(asleep):.1%} of units dead"
    if loads:
        yield f"the busiest expert has {max(loads.values()):.1f} times the mean load"


def _complaints(figures: Mapping[str, float]) -> Iterator[str]:
    for kind, words, bad in (
        ("attention_entropy", "looks at single tokens only", lambda value: value < _COLLAPSED_NATS),
        ("dead_units", "is more than half dead", lambda value: value > _ASLEEP),
        ("expert_load_largest", "leaves most work to one expert", lambda value: value > _UNEVEN),
    ):
        yield from (f"{name} {words}" for name, value in _of(kind, figures).items() if bad(value))


def _of(kind: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {name.removeprefix(f"{kind}/"): value for name, value in figures.items() if name.startswith(f"{kind}/")}
