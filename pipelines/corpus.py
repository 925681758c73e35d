"""The stage `corpus`: documents from their source, cleaned, without duplicates, split by group."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace

from lmmodel import folder
from lmmodel.params.kinds import Chosen
from lmmodel.progress import bar
from lmmodel.text import documents, mixture
from lmmodel.text.documents import Document
from lmmodel.text.settings import SOURCE, Corpus
from lmmodel.text.split import Read, divided
from pipelines import work


def produce(job: work.Job[Corpus]) -> None:
    """Write train.parquet and validation.parquet."""
    sources = mixture.parts(job.section.source)
    reads = [_read(job, number, source.chosen) for number, source in enumerate(sources)]
    found = divided(reads, validation=job.section.validation)
    counted = documents.write(job.output, _counted(found))
    own = any(source.chosen.kind == "python_docs" for source in sources)
    python = {"python": sys.version.split()[0]} if own else {}
    weights = {"weights": [source.weight for source in sources]} if len(sources) > 1 else {}
    folder.seal(job.output, {**counted, **python, **weights})
    job.metrics(counted)


def _read(job: work.Job[Corpus], number: int, source: Chosen) -> Read:
    """What source `number` yields of a split, each document with that number."""

    def read(split: str | None) -> Iterator[Document]:
        for document in SOURCE.load(source.kind)(source.options, split=split, scratch=job.scratch):
            yield replace(document, source=number)

    return read


def _counted(found: Iterable[tuple[str, Document]]) -> Iterator[tuple[str, Document]]:
    with bar(None, "B", "documents") as line:
        for side, document in found:
            line.advance(len(document.text))
            yield side, document


if __name__ == "__main__":
    work.run("corpus", Corpus, produce)
