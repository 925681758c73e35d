"""The stage `shards`: every document as tokens, memory-mapped, with checksums."""

from __future__ import annotations

import os
from pathlib import Path

from lmmodel import folder
from lmmodel.progress import bar
from lmmodel.text import documents, shards
from lmmodel.text.settings import Shards
from lmmodel.text.split import SPLITS, TRAIN
from lmmodel.text.tokenizer import Tokenizer
from pipelines import work


def produce(job: work.Job[Shards]) -> None:
    """Write the shards of both splits."""
    corpus = job.inputs["corpus"]
    tokenizer = Tokenizer.load(job.inputs["tokenizer"])
    workers = (os.cpu_count() or 1) if job.launch.workers == "auto" else job.launch.workers
    counted = {split: _written(job, corpus, split, tokenizer=tokenizer, workers=workers) for split in SPLITS}
    facts = folder.facts(corpus)
    mixture = None
    if "weights" in facts:
        documents_of_each = facts[TRAIN].get("sources", [counted[TRAIN]["documents"]])
        tokens = shards.cut(job.output, TRAIN, documents_of_each, begin=tokenizer.begin)
        tokens += [0] * (len(facts["weights"]) - len(tokens))
        mixture = {"weights": facts["weights"], "tokens": tokens}
    folder.seal(job.output, shards.index(counted, tokenizer=tokenizer, mixture=mixture))
    job.metrics(counted)


def _written(job: work.Job[Shards], corpus: Path, split: str, *, tokenizer: Tokenizer, workers: int) -> dict[str, int]:
    """What one split came to."""
    counted: dict[str, int] = {}
    texts = (document.text for document in documents.read(corpus, split))
    with bar(folder.facts(corpus)[split]["bytes"], "B", f"encoding {split}") as line:
        for now in shards.write(
            job.output,
            split,
            texts,
            tokenizer=tokenizer,
            tokens_per_shard=job.section.tokens_per_shard,
            workers=workers,
        ):
            line.advance(now["bytes"] - counted.get("bytes", 0))
            counted = now
    return counted


if __name__ == "__main__":
    work.run("shards", Shards, produce)
