"""The stage `tokenizer`: a vocabulary learnt from the train split, tried on the validation split."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from lmmodel import folder
from lmmodel.params.refusal import Refusal
from lmmodel.progress import bar
from lmmodel.text import documents, pieces, tokenizer
from lmmodel.text.settings import Tokenizer
from lmmodel.text.split import TRAIN, VALIDATION
from pipelines import work

_TRIED_AT_ONCE = 1000


def produce(job: work.Job[Tokenizer]) -> None:
    """Write the tokenizer; a Refusal where a text does not come back as it was."""
    corpus = job.inputs["corpus"]
    learnt = _learnt(job.section, corpus)
    learnt.save(job.output)
    tried = _tried(learnt, corpus)
    if tried["round_trip_failures"]:
        raise Refusal(f"tokenizer: {tried['round_trip_failures']:,} validation documents do not survive the round trip")
    folder.seal(job.output, {"algorithm": learnt.algorithm, "vocab_size": learnt.vocab_size})
    job.metrics({"vocab_size": learnt.vocab_size, **tried})


def _learnt(section: Tokenizer, corpus: Path) -> tokenizer.Tokenizer:
    total_bytes = folder.facts(corpus)[TRAIN]["bytes"]
    with bar(min(total_bytes, section.train_bytes), "B", f"learning {section.vocab_size:,} tokens") as line:
        texts = (document.text for document in documents.read(corpus, TRAIN))
        found = pieces.sentences(texts, total_bytes=total_bytes, limit_bytes=section.train_bytes)

        def shown(text: str) -> str:
            line.advance(len(text))
            return text

        return tokenizer.train(map(shown, found), algorithm=section.algorithm, vocab_size=section.vocab_size)


def _tried(learnt: tokenizer.Tokenizer, corpus: Path) -> dict[str, Any]:
    """What a token is worth on text that the vocabulary was not learnt from."""
    texts = (document.text for document in documents.read(corpus, VALIDATION))
    total_bytes = total_tokens = failures = 0
    while some := list(islice(texts, _TRIED_AT_ONCE)):
        for text, ids in zip(some, learnt.encode_batch(some), strict=True):
            total_bytes += len(text.encode())
            total_tokens += len(ids)
            failures += learnt.decode(ids) != text
    return {"bytes_per_token": round(total_bytes / total_tokens, 4), "round_trip_failures": failures}


if __name__ == "__main__":
    work.run("tokenizer", Tokenizer, produce)
