"""How fast text becomes tokens on this machine, on Python's own documentation repeated to 20 MB.

python -m benchmarks.text            reading, learning, encoding, sharding, batches
python -m benchmarks.text --json     the same as data

Threads are alternated round by round, so that what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lmmodel import folder as folders
from lmmodel.text import documents, pieces, shards, tokenizer
from lmmodel.text.batches import PretrainBatches
from lmmodel.text.settings import SOURCE, Corpus
from lmmodel.text.shards import Shards
from lmmodel.text.split import divide
from lmmodel.text.tokenizer import Tokenizer

ROUNDS = 5
TEXT_BYTES = 20_000_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    with tempfile.TemporaryDirectory() as name:
        figures = measured(Path(name))
    if as_json:
        print(json.dumps(figures, indent=1))
        return
    for what, value in figures.items():
        print(f"{what:48} {value:12,.2f}")


def measured(folder: Path) -> dict[str, float]:
    """All figures; the word behind the comma is the unit."""
    source = Corpus().source
    read = SOURCE.load(source.kind)
    texts = [one.text for one in read(source.options, split=None, scratch=folder)]
    figures = {"reading Python's documentation, seconds": seconds(lambda: written(folder))}
    figures["learning 4,096 byte pairs, seconds"] = seconds(lambda: learnt(texts))
    learner = learnt(texts)
    much = texts * (TEXT_BYTES // sum(len(text.encode()) for text in texts) + 1)
    figures |= encoding(learner, much)
    figures |= sharding(folder, learner, much)
    figures["a batch of 32 x 256 tokens, milliseconds"] = 1000 * batch_seconds(folder / "shards")
    return figures


def written(folder: Path) -> None:
    """The corpus as the stage writes it."""
    source = Corpus().source
    found = SOURCE.load(source.kind)(source.options, split=None, scratch=folder)
    documents.write(folder, divide(found, fraction=0.05))


def learnt(texts: list[str]) -> Tokenizer:
    """The default vocabulary."""
    total_bytes = sum(len(text.encode()) for text in texts)
    found = pieces.sentences(texts, total_bytes=total_bytes, limit_bytes=total_bytes)
    return tokenizer.train(found, algorithm="bpe", vocab_size=4096)


def encoding(learner: Tokenizer, texts: list[str]) -> dict[str, float]:
    """Encoding alone, by one thread and by all, alternating."""
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    threads = sorted({1, os.cpu_count() or 1})
    rounds = [{n: seconds(lambda n=n: learner.encode_batch(texts, workers=n)) for n in threads} for _ in range(ROUNDS)]
    return {f"encoding, {n} threads, MB/s": megabytes / statistics.median(one[n] for one in rounds) for n in threads}


def sharding(folder: Path, learner: Tokenizer, texts: list[str]) -> dict[str, float]:
    """Documents to sealed shards, by one thread and by all, alternating."""
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    threads = sorted({1, os.cpu_count() or 1})
    place = folder / "shards"
    place.mkdir()

    def write(workers: int) -> None:
        counted = {}
        for split, some in (("train", texts), ("validation", texts[:100])):
            found = shards.write(place, split, some, tokenizer=learner, tokens_per_shard=1_000_000, workers=workers)
            *_, counted[split] = found
        folders.seal(place, shards.index(counted, tokenizer=learner))

    rounds = [{n: seconds(lambda n=n: write(n)) for n in threads} for _ in range(ROUNDS)]
    return {f"sharding, {n} threads, MB/s": megabytes / statistics.median(one[n] for one in rounds) for n in threads}


def batch_seconds(folder: Path) -> float:
    """Seconds for one training batch."""
    batches = PretrainBatches(Shards.open(folder), context=256, sequences=32, seed=1, separate=True)
    return statistics.median(seconds(lambda step=step: batches.batch(step)) for step in range(200))


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds of `action`."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
