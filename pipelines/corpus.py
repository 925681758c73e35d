"""The stage `corpus`: documents from their source, cleaned, without duplicates, split by group."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from lmmodel import folder
from lmmodel.progress import bar
from lmmodel.text import documents
from lmmodel.text.documents import Document
from lmmodel.text.settings import SOURCE, Corpus
from lmmodel.text.split import TRAIN, VALIDATION
from pipelines import work


def produce(job: work.Job[Corpus]) -> None:
    """Write train.parquet and validation.parquet."""
    counted = documents.write(job.output, _counted(_divided(job)))
    python = {"python": sys.version.split()[0]} if job.section.source.kind == "python_docs" else {}
    folder.seal(job.output, {**counted, **python})
    job.metrics(counted)


def _divided(job: work.Job[Corpus]) -> Iterator[tuple[str, Document]]:
    """Documents with their side. A split of its own comes first, so that what it holds is not trained on."""
    source, validation = job.section.source, job.section.validation
    read = SOURCE.load(source.kind)
    if validation.fraction is not None:
        found = read(source.options, split=None, scratch=job.scratch)
        yield from documents.divide(found, fraction=validation.fraction)
        return
    for side, split in ((VALIDATION, validation.split), (TRAIN, None)):
        for document in read(source.options, split=split, scratch=job.scratch):
            yield side, document


def _counted(divided: Iterable[tuple[str, Document]]) -> Iterator[tuple[str, Document]]:
    with bar(None, "B", "documents") as line:
        for side, document in divided:
            line.advance(len(document.text))
            yield side, document


if __name__ == "__main__":
    work.run("corpus", Corpus, produce)
