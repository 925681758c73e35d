"""A dataset of the Hugging Face hub, streamed at a pinned revision; or files on the web: lmmodel/text/hub.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmmodel.params.refusal import Refusal
from lmmodel.text.documents import Document
from lmmodel.text.hub import Hub, rows, within
from lmmodel.text.rows import text_of
from lmmodel.text.split import digest


class Options(Hub):
    """As Hub; and the column that holds the text."""

    text_column: str = "text"


def documents(options: Options, *, split: str | None, scratch: Path) -> Iterator[Document]:
    """The documents of `split`, None: of the one that the options name. Each is a group of its own."""
    if split == options.split:
        raise Refusal(f"corpus.validation.split: '{split}' is also what is trained on (corpus.source.split)")
    name = split or options.split
    found = rows(options, split=name, place="corpus.source", scratch=scratch)
    texts = (text_of(row, options.text_column, place="corpus.source.text_column") for row in found)
    documents = (Document(f"{name}#{number}", digest(text), text) for number, text in enumerate(texts))
    return within(documents, size=lambda one: len(one.text.encode("utf-8", "replace")), limit=options.bytes)
