"""Tokens in batches: batch n is a pure function of the seed and n, however many processes share it.

A window is `context` + 1 tokens, and one starts where another's last token stands, so that every token but the first
is once a target. Dialogues share rows, none seeing another, and nothing is learnt but the answers. An epoch takes the
windows, or the rows, in an order that is computed place by place, so resuming costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmmodel.params.refusal import Refusal
from lmmodel.text.dialogues import Dialogue, read, tokens_of_all
from lmmodel.text.order import Turns, drawn, in_epochs, shuffled, spread
from lmmodel.text.packing import fitted, packed
from lmmodel.text.shards import Part, Shards, Split
from lmmodel.text.split import SPLITS, TRAIN, VALIDATION
from lmmodel.text.tokenizer import Tokenizer

_WHOLE = slice(None)


class TokenBatch(NamedTuple):
    """Rows of tokens and of those that follow them.

    `documents_BT` numbers the documents of a row, None: a row is one. `weights_BT` is how much the loss at a place
    counts, None: all alike.
    """

    tokens_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    documents_BT: NDArray[np.int64] | None
    weights_BT: NDArray[np.float32] | None


class PretrainBatches:
    """Windows of the documents. `separate` keeps the documents of a row apart: none sees another."""

    def __init__(self, shards: Shards, *, context: int, sequences: int, seed: int, separate: bool = False) -> None:
        self._begin = shards.begin
        sources, self._stream = shards.sources(), shards.split(TRAIN)
        self._sources = [_Windows(tokens, context) for _, tokens in sources]
        self._turns = Turns(tuple(weight for weight, _ in sources), seed=seed) if len(sources) > 1 else None
        self._validation = _Windows(shards.split(VALIDATION), context)
        self._context, self._sequences, self._seed, self._separate = context, sequences, seed, separate

    @property
    def tokens_per_epoch(self) -> int:
        """Targets in one round through the windows of all sources."""
        return sum(windows.count for windows in self._sources) * self._context

    def batch(self, step: int, *, rows: slice = _WHOLE) -> TokenBatch:
        """Batch `step` (from 0), or some of its `rows`."""
        if self._turns is None:
            (windows,) = self._sources
            return self._of(windows, drawn(step, rows, sequences=self._sequences, count=windows.count, seed=self._seed))
        places = np.arange(step * self._sequences, (step + 1) * self._sequences, dtype=np.int64)[rows]
        return self._mixed(*self._turns.of(places))

    def where(self, step: int, row: int) -> str:
        """Which document, counted from 0 on the train side of the corpus, a row of batch `step` begins in."""
        place = slice(row, row + 1)
        if self._turns is None:
            source, count = 0, self._sources[0].count
            number = drawn(step, place, sequences=self._sequences, count=count, seed=self._seed)
        else:
            turn, times = self._turns.of(np.array([step * self._sequences + row]))
            source = int(turn[0])
            number = in_epochs(times, count=self._sources[source].count, key=f"{self._seed} source {source}")
        first = self._sources[source].first(int(number[0]))
        before = sum(len(windows.tokens) for windows in self._sources[:source])
        document = int((self._stream[: before + first + 1] == self._begin).sum()) - 1
        return f"from token {before + first:,} of the train split, in its document {max(0, document):,}"

    def _mixed(self, sources: NDArray[np.int64], numbers: NDArray[np.int64]) -> TokenBatch:
        """Of each row the window that its source has at that place of its own epochs."""
        rows_BT = np.empty((len(sources), self._context + 1), dtype=np.int64)
        weights_BT = np.ones((len(sources), self._context), dtype=np.float32)
        for source in np.unique(sources):
            windows, own = self._sources[source], sources == source
            chosen = in_epochs(numbers[own], count=windows.count, key=f"{self._seed} source {source}")
            rows_BT[own], weights = windows.take(chosen)
            weights_BT[own] = 1 if weights is None else weights
        return self._batch(rows_BT, None if weights_BT.all() else weights_BT)

    def validation(self, tokens: int) -> Iterator[TokenBatch]:
        """About `tokens` held-out targets, evenly spread, always the same in the same order. The last may be short."""
        for chosen in spread(self._validation.count, tokens // self._context, at_once=self._sequences):
            yield self._of(self._validation, chosen)

    def _of(self, windows: _Windows, chosen: NDArray[np.int64]) -> TokenBatch:
        return self._batch(*windows.take(chosen))

    def _batch(self, rows_BT: NDArray[np.int64], weights_BT: NDArray[np.float32] | None) -> TokenBatch:
        tokens_BT = rows_BT[:, :-1]
        documents_BT = np.cumsum(tokens_BT == self._begin, axis=1) if self._separate else None
        return TokenBatch(tokens_BT, rows_BT[:, 1:], documents_BT, weights_BT)


class DialogueBatches:
    """Dialogues, packed once in an order that `seed` decides; then an epoch takes the rows in an order of its own.

    `source` is a folder of dialogues, or both splits at hand. Documents are always kept apart, and padding is one.
    """

    def __init__(
        self,
        source: str | Path | dict[str, Sequence[Dialogue]],
        tokenizer: Tokenizer,
        *,
        context: int,
        sequences: int,
        seed: int,
    ) -> None:
        if not isinstance(source, dict):
            source = {split: list(read(Path(source), split)) for split in SPLITS}
        self._train = _Rows(source[TRAIN], tokenizer, context=context, key=f"{seed} packing")
        self._validation = _Rows(source[VALIDATION], tokenizer, context=context, key="validation")
        self._context, self._sequences, self._seed = context, sequences, seed

    @property
    def tokens_per_epoch(self) -> int:
        """Places in one round through the rows, padding included."""
        return self._train.count * self._context

    def batch(self, step: int, *, rows: slice = slice(None)) -> TokenBatch:
        """Batch `step` (from 0), or some of its `rows`."""
        count = self._train.count
        return self._train.take(drawn(step, rows, sequences=self._sequences, count=count, seed=self._seed))

    def validation(self, tokens: int) -> Iterator[TokenBatch]:
        """About `tokens` held-out places, evenly spread, always the same in the same order. The last may be short."""
        for chosen in spread(self._validation.count, tokens // self._context, at_once=self._sequences):
            yield self._validation.take(chosen)


class _Windows:
    """A split cut into windows. The last is moved back to be full; what it repeats has weight 0 there."""

    def __init__(self, tokens: Split | Part, context: int) -> None:
        if len(tokens) < 2:
            raise Refusal("data/shards: a split has fewer than two tokens, and nothing follows anything in it")
        self.tokens, self._context = tokens, context
        self._last = max(0, len(tokens) - 1 - context)
        self.count = ceil((len(tokens) - 1) / context)

    def first(self, number: int) -> int:
        """The place of a window's first token."""
        return min(number * self._context, self._last)

    def take(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
        """The windows of these numbers, [B, context + 1], and the weights of their targets unless all are 1."""
        rows = np.zeros((len(chosen), self._context + 1), dtype=np.int64)
        weights = np.ones((len(chosen), self._context), dtype=np.float32)
        for row, number in enumerate(chosen):
            wanted = int(number) * self._context
            start = self.first(int(number))
            found = self.tokens[start : start + self._context + 1]
            rows[row, : len(found)] = found
            weights[row, : wanted - start] = 0
            weights[row, len(found) - 1 :] = 0
        return rows, None if weights.all() else weights


class _Rows:
    """One split, packed."""

    def __init__(self, dialogues: Sequence[Dialogue], tokenizer: Tokenizer, *, context: int, key: str) -> None:
        found = (fitted(*one, context=context) for one in tokens_of_all(tokenizer, dialogues))
        self._learnt = [one for one in found if one is not None]
        if not self._learnt:
            raise Refusal(f"data/dialogues: of {len(dialogues):,} dialogues none has an answer within {context} tokens")
        self._context = context
        count = len(self._learnt)
        order = shuffled(np.arange(count, dtype=np.int64), count=count, key=key)
        self._rows = packed([len(ids) - 1 for ids, _ in self._learnt], order.tolist(), room=context)

    @property
    def count(self) -> int:
        return len(self._rows)

    def take(self, chosen: NDArray[np.int64]) -> TokenBatch:
        tokens_BT, targets_BT, documents_BT = np.zeros((3, len(chosen), self._context), dtype=np.int64)
        weights_BT = np.zeros((len(chosen), self._context), dtype=np.float32)
        for row, number in enumerate(chosen):
            start = 0
            for document, member in enumerate(self._rows[number]):
                ids, learn = self._learnt[member]
                place = slice(start, start := start + len(ids) - 1)
                tokens_BT[row, place], targets_BT[row, place] = ids[:-1], ids[1:]
                documents_BT[row, place], weights_BT[row, place] = document, learn[1:]
            documents_BT[row, start:] = len(self._rows[number])
        return TokenBatch(tokens_BT, targets_BT, documents_BT, weights_BT)
