"""Your own files: `.txt`, `.md`, `.jsonl` and `.parquet`, and each of these packed as `.gz` or `.zst`.

A text file is one document, unless `block_bytes` cuts it at the ends of its paragraphs; a row of a table is one. Its
group is its own text, so that a text that is added, moved or renamed moves no other to the other side of the split.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import Count, Settings, Words
from lmmodel.text.documents import Document, blocks
from lmmodel.text.rows import expand, of_file, text_of
from lmmodel.text.split import digest


class Options(Settings):
    """`paths`: globs. `text_column`: where there are columns. `block_bytes`: cut longer documents into about this."""

    paths: Words = ("data/raw/documents/**/*.*",)
    text_column: str = "text"
    block_bytes: Count | None = None


def documents(options: Options, *, split: str | None, scratch: Path) -> Iterator[Document]:
    """The documents of all files, in the order of their names."""
    if split is not None:
        raise Refusal(f"corpus.validation.split: files have no split '{split}' of their own: use {{fraction: 0.05}}")
    for file in expand(options.paths, place="corpus.source.paths"):
        for number, row in enumerate(of_file(file)):
            text = text_of(row, options.text_column, place="corpus.source.text_column")
            for part, block in enumerate(blocks(text, limit_bytes=options.block_bytes)):
                yield Document(f"{_name(file)}#{number}.{part}", digest(block), block)


def _name(file: Path) -> str:
    """The path as it was written, or the bare name where that would tell of this machine."""
    return file.name if file.is_absolute() else file.as_posix()
