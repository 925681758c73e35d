"""Documents: cleaned, each text once, divided into train and validation, written as parquet.

A row holds `id`, `group` and `text`. A group falls on one side of the split as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmmodel.params.refusal import Refusal
from lmmodel.text.parquet import Writer, rows
from lmmodel.text.split import SPLITS, TRAIN, VALIDATION, digest, side

_HALF_A_LETTER = re.compile("[\ud800-\udfff]")
COLUMNS = {"id": "string", "group": "string", "text": "string"}


@dataclass(frozen=True, slots=True)
class Document:
    """A text, what it is called, and the group that it stays with."""

    id: str
    group: str
    text: str


@dataclass
class Count:
    """How much of one kind went to one side of the split."""

    rows: int = 0
    bytes: int = 0
    groups: set[str] = field(default_factory=set)

    def facts(self, noun: str) -> dict[str, int]:
        """The figures for a metrics file."""
        return {noun: self.rows, "bytes": self.bytes, "groups": len(self.groups)}


def clean(text: str) -> str:
    r"""`text` with \n between its lines, without a byte order mark and blank lines around it. All else is kept."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = _HALF_A_LETTER.sub("\ufffd", text)
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    first = next((index for index, line in enumerate(lines) if line.strip()), 0)
    return "\n".join(lines[first:])


def blocks(text: str, *, limit_bytes: int | None) -> Iterator[str]:
    """`text` cut between paragraphs into blocks of at most `limit_bytes`, a longer paragraph uncut; None: all uncut."""
    if limit_bytes is None:
        yield text
        return
    block: list[str] = []
    size = 0
    for paragraph in re.split(r"(?<=\n)\s*\n", text):
        length = len(paragraph.encode("utf-8", "replace")) + 1
        if block and size + length > limit_bytes:
            yield "\n".join(block)
            block, size = [], 0
        block.append(paragraph)
        size += length
    yield "\n".join(block)


def divide(documents: Iterable[Document], *, fraction: float) -> Iterator[tuple[str, Document]]:
    """Each document with its side of the split."""
    return ((side(document.group, fraction=fraction), document) for document in documents)


def write(folder: Path, divided: Iterable[tuple[str, Document]]) -> dict[str, Any]:
    """Write `divided` as train.parquet and validation.parquet; what was counted.

    Of equal texts the first is kept, on whichever side it falls, so that nothing stands on both. Refuses a source
    without text, and a split of which one side is empty.
    """
    counts = {split: Count() for split in SPLITS}
    seen: set[str] = set()
    duplicates = 0
    with ExitStack() as stack:
        writers = {split: stack.enter_context(Writer(folder / f"{split}.parquet", COLUMNS)) for split in SPLITS}
        for split, document in divided:
            text = clean(document.text)
            if not text:
                continue
            key = digest(text)
            if key in seen:
                duplicates += 1
                continue
            seen.add(key)
            counts[split].rows += 1
            counts[split].bytes += len(text.encode())
            counts[split].groups.add(document.group)
            writers[split].add({"id": document.id, "group": document.group, "text": text})
    require_both(counts, section="corpus", noun="document")
    return {**{split: count.facts("documents") for split, count in counts.items()}, "duplicates_removed": duplicates}


def read(folder: Path, split: str) -> Iterator[Document]:
    """The documents of one side, in the order in which they were written."""
    for row in rows(folder / f"{split}.parquet", tuple(COLUMNS)):
        yield Document(**row)


def require_both(counts: dict[str, Count], *, section: str, noun: str) -> None:
    """Refuse a split with an empty side, naming the value that would fill it."""
    groups = sum(len(count.groups) for count in counts.values())
    if not groups:
        raise Refusal(f"{section}.source: has no {noun} with text in it")
    for split, lacking in ((TRAIN, "lower"), (VALIDATION, "raise")):
        if not counts[split].rows:
            raise Refusal(
                f"{section}.validation: of {groups:,} group{'s' * (groups > 1)} none falls on the side of {split}; "
                f"{lacking} the fraction, or give the source more {noun}s"
            )
