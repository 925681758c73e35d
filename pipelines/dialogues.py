"""The stage `dialogues`: questions and answers from their source, split by the same groups as the documents."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from lmmodel import folder
from lmmodel.progress import bar
from lmmodel.text import dialogues
from lmmodel.text.dialogues import Dialogue
from lmmodel.text.settings import DIALOGUE, Dialogues
from lmmodel.text.split import divided
from pipelines import work


def produce(job: work.Job[Dialogues]) -> None:
    """Write train.parquet and validation.parquet."""
    source, validation = job.section.source, job.section.validation
    read = DIALOGUE.load(source.kind)
    found = divided([lambda split: read(source.options, split=split, scratch=job.scratch)], validation=validation)
    counted = dialogues.write(job.output, _counted(found))
    python = {"python": sys.version.split()[0]} if source.kind == "python_docs" else {}
    folder.seal(job.output, {**counted, **python})
    job.metrics(counted)


def _counted(found: Iterable[tuple[str, Dialogue]]) -> Iterator[tuple[str, Dialogue]]:
    with bar(None, "dialogue", "dialogues") as line:
        for side, dialogue in found:
            line.advance()
            yield side, dialogue


if __name__ == "__main__":
    work.run("dialogues", Dialogues, produce)
