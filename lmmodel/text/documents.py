"""Documents: cleaned, each text once, divided into train and validation, written as parquet.

A row holds `id`, `group` and `text`. A group falls on one side of the split as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmmodel.text import sides
from lmmodel.text.parquet import rows

_HALF_A_LETTER = re.compile("[\ud800-\udfff]")
COLUMNS = {"id": "string", "group": "string", "text": "string"}


@dataclass(frozen=True, slots=True)
class Document:
    """A text, what it is called, the group that it stays with, and which of several sources it is from."""

    id: str
    group: str
    text: str
    source: int = 0


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
    """`text` cut between paragraphs into blocks of at most `limit_bytes`, a longer paragraph uncut; None: all uncut.

    The blank lines where it is cut fall away; all else stays as it is.
    """
    if limit_bytes is None or len(text.encode("utf-8", "replace")) <= limit_bytes:
        yield text
        return
    block: list[str] = []
    size = 0
    parts = re.split(r"(?<=\n)(\s*\n)", text)
    for paragraph, blank in zip(parts[::2], [*parts[1::2], "\n"], strict=True):
        length = len(f"{paragraph}{blank}".encode("utf-8", "replace"))
        if block and size + length > limit_bytes:
            yield "".join(block[:-1])
            block, size = [], 0
        block += [paragraph, blank]
        size += length
    yield "".join(block[:-1])


def write(folder: Path, divided: Iterable[tuple[str, Document]]) -> dict[str, Any]:
    """Write `divided` (documents with their side), cleaned, each text once; what was counted."""
    found = (
        sides.Row(side, (text := clean(one.text),), {"id": one.id, "group": one.group, "text": text}, one.source)
        for side, one in divided
    )
    return sides.write(folder, found, columns=COLUMNS, section="corpus", noun="document")


def read(folder: Path, split: str) -> Iterator[Document]:
    """The documents of one side, in the order in which they were written."""
    for row in rows(folder / f"{split}.parquet", tuple(COLUMNS)):
        yield Document(**row)
