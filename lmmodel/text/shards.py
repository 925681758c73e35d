"""Documents as tokens: shards of 16 or 32 bits a token, memory-mapped, with their counts and checksums.

Each document begins with the tokenizer's `begin`, which later tells where one ends. Encoded by any number of workers,
the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmmodel import folder as folders
from lmmodel.params.refusal import Refusal
from lmmodel.text.split import TRAIN
from lmmodel.text.tokenizer import Tokenizer

_BATCH_LETTERS = 4_000_000  # encoded at once, so that the workers have something to share

Tokens = NDArray[np.unsignedinteger[Any]]


def write(
    folder: Path, split: str, texts: Iterable[str], *, tokenizer: Tokenizer, tokens_per_shard: int, workers: int = 1
) -> Iterator[dict[str, int]]:
    """Write the shards of `split`; yields what was counted so far: documents, bytes, tokens."""
    shard = np.empty(tokens_per_shard, dtype=_width(tokenizer.vocab_size))
    counted = {"documents": 0, "bytes": 0, "tokens": 0}
    filled = number = 0
    for batch in _batches(texts):
        stream = _stream(tokenizer, batch, workers)
        counted["documents"] += len(batch)
        counted["bytes"] += sum(len(text.encode()) for text in batch)
        counted["tokens"] += len(stream)
        while len(stream):
            taken = min(len(stream), tokens_per_shard - filled)
            shard[filled : filled + taken] = stream[:taken]
            filled, stream = filled + taken, stream[taken:]
            if filled == tokens_per_shard:
                np.save(folder / _name(split, number), shard)
                filled, number = 0, number + 1
        yield dict(counted)
    if filled:
        np.save(folder / _name(split, number), shard[:filled])


def cut(folder: Path, split: str, documents: Sequence[int], *, begin: int) -> list[int]:
    """Tokens of the first so many documents of a written `split`, of the next, and so on: found by where they begin."""
    wanted, counts = list(accumulate(documents)), [0] * len(documents)
    seen = 0
    for file in sorted(folder.glob(f"{split}-*.npy")):
        shard = np.load(file)
        numbers = seen + np.cumsum(shard == begin)  # of the document that a token is in, from 1
        for part, count in zip(*np.unique(np.searchsorted(wanted, numbers), return_counts=True), strict=True):
            counts[int(part)] += int(count)
        seen = int(numbers[-1])
    return counts


def index(
    counted: Mapping[str, Mapping[str, int]], *, tokenizer: Tokenizer, mixture: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The facts that `Shards.open` reads, for the index of the folder.

    mixture: of several sources, their `weights` and how many `tokens` of the train split each has, one after the other.
    """
    return {
        **({"mixture": dict(mixture)} if mixture else {}),
        "splits": {split: dict(counts) for split, counts in counted.items()},
        "dtype": np.dtype(_width(tokenizer.vocab_size)).name,
        "vocab_size": tokenizer.vocab_size,
        "begin": tokenizer.begin,
    }


class Split:
    """The tokens of one side, as if they stood in one array: `split[5:9]`."""

    def __init__(self, shards: list[Tokens], *, documents: int, bytes: int) -> None:
        self._shards = shards
        self._ends = np.array(list(accumulate(len(shard) for shard in shards)), dtype=np.int64)
        self.documents = documents
        self.bytes = bytes

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, span: slice) -> Tokens:
        start, stop, _ = span.indices(len(self))
        first = int(np.searchsorted(self._ends, start, side="right"))
        parts = []
        for number in range(first, len(self._shards)):
            shard = self._shards[number]
            offset = int(self._ends[number]) - len(shard)
            if offset >= stop:
                break
            parts.append(shard[max(0, start - offset) : stop - offset])
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint16)


@dataclass(frozen=True)
class Part:
    """The tokens of `split` from `start` to `stop`, as if they were all."""

    split: Split
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, span: slice) -> Tokens:
        start, stop, _ = span.indices(len(self))
        return self.split[self.start + start : self.start + max(start, stop)]


@dataclass(frozen=True)
class Shards:
    """A folder of shards; made by `Shards.open`. `begin` is the token that each document starts with.

    weights: of the sources of its train split. tokens: of each of them, where there are several.
    """

    vocab_size: int
    begin: int
    splits: dict[str, Split]
    weights: tuple[float, ...] = (1.0,)
    tokens: tuple[int, ...] | None = None

    @classmethod
    def open(cls, folder: str | Path) -> Shards:
        """The shards in `folder`, every one found whole; a Refusal names the first that is not."""
        folder = Path(folder)
        facts = folders.verify(folder)
        splits = {}
        for split, counts in facts["splits"].items():
            files = sorted(name for name in facts["files"] if name.startswith(f"{split}-"))
            shards = [_mapped(folder / name, facts["dtype"]) for name in files]
            splits[split] = Split(shards, documents=counts["documents"], bytes=counts["bytes"])
            if len(splits[split]) != counts["tokens"]:
                raise Refusal(
                    f"{folder}: the shards of {split} hold {len(splits[split]):,} tokens; "
                    f"{folders.INDEX} says {counts['tokens']:,}"
                )
        mixed = {name: tuple(values) for name, values in facts.get("mixture", {}).items()}
        return cls(vocab_size=facts["vocab_size"], begin=facts["begin"], splits=splits, **mixed)

    def split(self, name: str) -> Split:
        """The tokens of `train` or `validation`."""
        return self.splits[name]

    def sources(self) -> list[tuple[float, Split | Part]]:
        """The train split by its sources, each with its weight; a Refusal where one has nothing there."""
        train = self.split(TRAIN)
        if self.tokens is None:
            return [(1.0, train)]
        for number, count in enumerate(self.tokens):
            if not count:
                raise Refusal(f"corpus.source.{number}: nothing of it is in the train split; leave it out")
        ends = list(accumulate(self.tokens))
        parts = zip(self.weights, self.tokens, ends, strict=True)
        return [(weight, Part(train, end - count, end)) for weight, count, end in parts]


def _mapped(path: Path, dtype: str) -> Tokens:
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise Refusal(f"{path}: is not a shard: {error}") from None
    if tokens.ndim != 1 or tokens.dtype != np.dtype(dtype):
        raise Refusal(f"{path}: should hold a row of {dtype}, not {tokens.dtype} {tokens.shape}")
    return tokens


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    letters = 0
    for text in texts:
        batch.append(text)
        letters += len(text)
        if letters >= _BATCH_LETTERS:
            yield batch
            batch, letters = [], 0
    if batch:
        yield batch


def _stream(tokenizer: Tokenizer, texts: list[str], workers: int) -> NDArray[np.int32]:
    begin = np.array([tokenizer.begin], dtype=np.int32)
    parts = [part for ids in tokenizer.encode_batch(texts, workers=workers) for part in (begin, ids)]
    return np.concatenate(parts)


def _width(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def _name(split: str, number: int) -> str:
    return f"{split}-{number:05d}.npy"
