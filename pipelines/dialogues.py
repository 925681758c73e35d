"""The stage `dialogues`: questions and answers from their source, split by the same groups as the documents."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from lmmodel import folder
from lmmodel.progress import bar
from lmmodel.text import dialogues
from lmmodel.text.dialogues import Dialogue
from lmmodel.text.settings import DIALOGUE, Dialogues
from lmmodel.text.split import TRAIN, VALIDATION
from pipelines import work


def produce(job: work.Job[Dialogues]) -> None:
    """Write train.parquet and validation.parquet."""
    counted = dialogues.write(job.output, _counted(_divided(job)))
    python = {"python": sys.version.split()[0]} if job.section.source.kind == "python_docs" else {}
    folder.seal(job.output, {**counted, **python})
    job.metrics(counted)


def _divided(job: work.Job[Dialogues]) -> Iterator[tuple[str, Dialogue]]:
    """Dialogues with their side. A split of its own comes first, so that what it holds is not learnt from."""
    source, validation = job.section.source, job.section.validation
    read = DIALOGUE.load(source.kind)
    if validation.fraction is not None:
        found = read(source.options, split=None, scratch=job.scratch)
        yield from dialogues.divide(found, fraction=validation.fraction)
        return
    for side, split in ((VALIDATION, validation.split), (TRAIN, None)):
        for dialogue in read(source.options, split=split, scratch=job.scratch):
            yield side, dialogue


def _counted(divided: Iterable[tuple[str, Dialogue]]) -> Iterator[tuple[str, Dialogue]]:
    with bar(None, "dialogue", "dialogues") as line:
        for side, dialogue in divided:
            line.advance()
            yield side, dialogue


if __name__ == "__main__":
    work.run("dialogues", Dialogues, produce)
