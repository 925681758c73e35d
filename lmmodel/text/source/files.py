"""Your own files: `.txt`, `.md`, `.jsonl` and `.parquet`, and each of these packed as `.gz` or `.zst`.

A text file is one document, unless `block_bytes` cuts it at the ends of its paragraphs; a row of a table is one. Its
group is its own text, so that a text that is added, moved or renamed moves no other to the other side of the split.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import field_validator

from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import Count, Settings, Words
from lmmodel.text.documents import Document, blocks
from lmmodel.text.rows import expand, of_file, text_of, watched
from lmmodel.text.split import digest

FOLDER = "data/raw/documents"


class Options(Settings):
    """`paths`: globs. `text_column`: where there are columns. `block_bytes`: cut longer documents into about this."""

    paths: Words = (f"{FOLDER}/**/*.*",)
    text_column: str = "text"
    block_bytes: Count | None = None

    @field_validator("paths")
    @classmethod
    def _watched(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return watched(paths, folder=FOLDER)


def documents(options: Options, *, split: str | None, scratch: Path) -> Iterator[Document]:
    """The documents of all files, in the order of their names."""
    if split is not None:
        raise Refusal(f"corpus.validation.split: files have no split '{split}' of their own: use {{fraction: 0.05}}")
    for file in expand(options.paths, place="corpus.source.paths"):
        for number, row in enumerate(of_file(file)):
            text = text_of(row, options.text_column, place="corpus.source.text_column")
            for part, block in enumerate(blocks(text, limit_bytes=options.block_bytes)):
                yield Document(f"{file.as_posix()}#{number}.{part}", digest(block), block)
