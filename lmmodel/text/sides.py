"""Both sides of the split as tables, each text once: what documents and dialogues are written with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lmmodel.params.refusal import Refusal
from lmmodel.text.parquet import Writer
from lmmodel.text.split import SPLITS, TRAIN, VALIDATION, digest


class Row(NamedTuple):
    """A row on its `side`. `texts` are what it says: rows of equal texts are duplicates, empty ones are left out.

    source: its number, where there are several; the rows of one come before those of the next.
    """

    side: str
    texts: tuple[str, ...]
    values: dict[str, Any]
    source: int = 0


@dataclass
class _Count:
    rows: int = 0
    bytes: int = 0
    groups: set[str] = field(default_factory=set)
    tasks: Counter[str] = field(default_factory=Counter)
    sources: Counter[int] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        self.rows += 1
        self.bytes += sum(len(text.encode()) for text in row.texts)
        self.groups.add(row.values["group"])
        self.sources[row.source] += 1
        self.tasks.update([row.values["task"]] if "task" in row.values else [])

    def facts(self, noun: str) -> dict[str, Any]:
        more: dict[str, Any] = {"tasks": dict(self.tasks)} if self.tasks else {}
        if last := max(self.sources, default=0):
            more["sources"] = [self.sources[number] for number in range(last + 1)]
        return {f"{noun}s": self.rows, "bytes": self.bytes, "groups": len(self.groups), **more}


def write(folder: Path, found: Iterable[Row], *, columns: Mapping[str, Any], section: str, noun: str) -> dict[str, Any]:
    """Write `found` as train.parquet and validation.parquet; what was counted, called by `noun`.

    Of duplicates the first is kept, on whichever side it falls, so that nothing stands on both. Refuses, in the name of
    `section`, a source without text, and a split of which one side is empty.
    """
    counts = {side: _Count() for side in SPLITS}
    seen: set[str] = set()
    duplicates = 0
    with ExitStack() as stack:
        writers = {side: stack.enter_context(Writer(folder / f"{side}.parquet", columns)) for side in SPLITS}
        for row in found:
            key = digest("\0".join(row.texts))
            if key in seen:
                duplicates += 1
            elif any(row.texts):
                seen.add(key)
                counts[row.side].add(row)
                writers[row.side].add(row.values)
    _require_both(counts, section=section, noun=noun)
    return {**{side: count.facts(noun) for side, count in counts.items()}, "duplicates_removed": duplicates}


def _require_both(counts: dict[str, _Count], *, section: str, noun: str) -> None:
    groups = sum(len(count.groups) for count in counts.values())
    if not groups:
        raise Refusal(f"{section}.source: has no {noun} with text in it")
    for side, lacking in ((TRAIN, "lower"), (VALIDATION, "raise")):
        if not counts[side].rows:
            raise Refusal(
                f"{section}.validation: of {groups:,} group{'s' * (groups > 1)} none falls on the side of {side}; "
                f"{lacking} the fraction, or give the source more {noun}s"
            )
