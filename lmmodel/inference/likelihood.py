"""How likely a model finds a text: many passages at once, each as if it were alone.

Passages are padded on the right, where nothing that is scored can see it, and put together by length. Logits are formed
only where a token is predicted, and a passage's sum is taken in float64.

What is longer than the model's context is read in windows, as lm-eval reads it for everybody: every token is predicted
once; windows do not overlap but for the last, which has the full context before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model

_BATCH_TOKENS = {"cpu": 2048}  # read at a time: 25 % faster there than 8192
_MANY_TOKENS = 65_536  # on an accelerator
_LOGITS = 1 << 24  # formed at a time: 64 MB of float32


class Passage(NamedTuple):
    """Tokens of which those from `first` on are scored, each given all before it. `first` is at least 1."""

    ids: Sequence[int]
    first: int


class Likelihood(NamedTuple):
    """`nats`: the logarithm of the probability, 0 or below. `greedy`: every token was the likeliest."""

    nats: float
    greedy: bool


class Window(NamedTuple):
    """One reading: `ids[start : stop - 1]` go in, `ids[first:stop]` are scored."""

    start: int
    first: int
    stop: int


def windows(length: int, first: int, context: int) -> Iterator[Window]:
    """Readings that score each of the places `first` to `length` once, with at most `context` tokens going in.

    What fits is read once, with as much before it as the context holds.
    """
    if not 1 <= first <= length:
        raise ValueError(f"a passage of {length} tokens cannot be scored from place {first} on")
    if length - first > context:
        start = max(0, first - 1 - context // 2)
        while length - 1 - start > context:
            yield Window(start, first, start + context + 1)
            first, start = start + context + 1, start + context
    if first < length:
        yield Window(max(0, length - 1 - context), first, length)


def score(
    model: Model, passages: Sequence[Passage], *, advance: Callable[[int], None] | None = None
) -> list[Likelihood]:
    """The likelihood of each of `passages`, in their order; what is asked for twice is read once.

    `advance` hears how many are done. ValueError where a passage has no token before its first scored one.
    """
    keys = [(tuple(passage.ids), passage.first) for passage in passages]
    times = Counter(keys)
    found = dict.fromkeys(times, Likelihood(0.0, True))
    for key, window, part in _read(model, list(times)):
        if part:
            found[key] = Likelihood(found[key].nats + part.nats, found[key].greedy and part.greedy)
        if advance and window.stop == len(key[0]):
            advance(times[key])
    return [found[key] for key in keys]


_Key = tuple[tuple[int, ...], int]


def _read(model: Model, keys: list[_Key]) -> Iterator[tuple[_Key, Window, Likelihood | None]]:
    """Every reading that passages take, the widest first, with what it found; nothing where nothing is scored."""
    work: list[tuple[_Key, Window]] = []
    for key in keys:
        ids, first = key
        found = list(windows(len(ids), first, model.declaration.context))
        work += [(key, window) for window in found]
        if not found:
            yield key, Window(0, first, first), None
    work.sort(key=lambda item: item[1].start - item[1].stop)
    device = next(model.parameters()).device.type
    for batch in _batches(work, _BATCH_TOKENS.get(device, _MANY_TOKENS)):
        parts = _score_batch(model, [(key[0], window) for key, window in batch])
        yield from ((key, window, part) for (key, window), part in zip(batch, parts, strict=True))


def _batches(work: list[tuple[_Key, Window]], tokens: int) -> Iterator[list[tuple[_Key, Window]]]:
    """Consecutive readings, longest first, of at most `tokens` with their padding."""
    first = 0
    while first < len(work):
        width = work[first][1].stop - 1 - work[first][1].start
        rows = max(1, tokens // width)
        yield work[first : first + rows]
        first += rows


@torch.inference_mode()
def _score_batch(model: Model, batch: list[tuple[Sequence[int], Window]]) -> list[Likelihood]:
    device = next(model.parameters()).device
    width = max(window.stop - 1 - window.start for _, window in batch)
    tokens_BT = torch.zeros(len(batch), width, dtype=torch.int64)
    targets_BT = torch.full((len(batch), width), -1)  # below 0: not scored
    for row, (ids, window) in enumerate(batch):
        tokens_BT[row, : window.stop - 1 - window.start] = torch.tensor(ids[window.start : window.stop - 1])
        scored = slice(window.first - 1 - window.start, window.stop - 1 - window.start)
        targets_BT[row, scored] = torch.tensor(ids[window.first : window.stop])
    hidden_BTD = model.trace(tokens_BT.to(device)).hidden_BTD
    wanted_BT = targets_BT >= 0
    nats_N, greedy_N = _likelihoods(model, hidden_BTD[wanted_BT.to(device)], targets_BT[wanted_BT].to(device))
    counts = wanted_BT.sum(dim=1).tolist()
    return [
        Likelihood(float(nats.sum()), bool(greedy.all()))
        for nats, greedy in zip(nats_N.split(counts), greedy_N.split(counts), strict=True)
    ]


def _likelihoods(model: Model, hidden_ND: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Of each target the logarithm of its probability, in float64, and whether it was the likeliest."""
    rows = max(1, _LOGITS // model.declaration.vocab_size)
    nats, greedy = [], []
    for part_ND, part_N in zip(hidden_ND.split(rows), targets_N.split(rows), strict=True):
        logits_NV = model.logits(part_ND).float()
        chosen_N = logits_NV.gather(1, part_N[:, None])[:, 0]
        nats.append((chosen_N - logits_NV.logsumexp(dim=1)).cpu().double())
        greedy.append((logits_NV.argmax(dim=1) == part_N).cpu())
    return torch.cat(nats), torch.cat(greedy)
