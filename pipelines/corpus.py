"""The stage `corpus`: documents from their source, cleaned, without duplicates, split by group."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from lmmodel import folder
from lmmodel.progress import bar
from lmmodel.text import documents
from lmmodel.text.documents import Document
from lmmodel.text.settings import SOURCE, Corpus
from lmmodel.text.split import divided
from pipelines import work


def produce(job: work.Job[Corpus]) -> None:
    """Write train.parquet and validation.parquet."""
    source, validation = job.section.source, job.section.validation
    found = divided(SOURCE.load(source.kind), source.options, validation=validation, scratch=job.scratch)
    counted = documents.write(job.output, _counted(found))
    python = {"python": sys.version.split()[0]} if source.kind == "python_docs" else {}
    folder.seal(job.output, {**counted, **python})
    job.metrics(counted)


def _counted(found: Iterable[tuple[str, Document]]) -> Iterator[tuple[str, Document]]:
    with bar(None, "B", "documents") as line:
        for side, document in found:
            line.advance(len(document.text))
            yield side, document


if __name__ == "__main__":
    work.run("corpus", Corpus, produce)
