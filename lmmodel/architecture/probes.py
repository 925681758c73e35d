"""The comparisons that a sound model passes: what must agree, as two ways to put the same tokens to it."""

from __future__ import annotations

import torch
from torch import Tensor

from lmmodel.architecture.compare import Comparison, Pass, Way
from lmmodel.architecture.model import Model


def tokens(model: Model, *, rows: int, length: int, seed: int = 0) -> Tensor:
    """Random tokens of the model's vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(model.declaration.vocab_size, (rows, length), generator=generator)


def later_tokens_changed(model: Model, length: int) -> Comparison:
    """Row by row, all tokens beyond a cut are others: up to the cut nothing may move."""
    cuts = [cut for cut in (0, 1, 31, 63, 64, 65, 100, 127, 128) if cut < length - 2] + [length - 2]
    before_BT = tokens(model, rows=1, length=length).repeat(len(cuts), 1)
    later_BT = torch.arange(length) > torch.tensor(cuts)[:, None]
    shift_BT = 1 + tokens(model, rows=len(cuts), length=length, seed=1) % max(1, model.declaration.vocab_size - 1)
    after_BT = torch.where(later_BT, (before_BT + shift_BT) % model.declaration.vocab_size, before_BT)
    numbers_BT = torch.where(later_BT, -1, torch.arange(before_BT.numel()).view_as(before_BT))

    def tell(number: int) -> str:
        row, token = divmod(number, length)
        return f"token {token} sees what comes later: it moved when the tokens from {cuts[row] + 1} on were changed"

    before, after = (Way((Pass(tokens_BT, numbers_BT),)) for tokens_BT in (before_BT, after_BT))
    return Comparison(before, after, total=before_BT.numel(), tell=tell, training=True)


def piece_by_piece(model: Model, length: int) -> Comparison:
    """In chunks and one by one with a state, its rows changing places on the way: as all at once."""
    tokens_BT = tokens(model, rows=2, length=length)
    numbers_BT = torch.arange(tokens_BT.numel()).view_as(tokens_BT)
    swapped = False
    passes = []
    for start, end in _pieces(length):
        turn = start == 70
        swapped ^= turn
        rows = [1, 0] if swapped else [0, 1]
        select = (1, 0) if turn else None
        passes.append(Pass(tokens_BT[rows, start:end], numbers_BT[rows, start:end], select=select))

    def tell(number: int) -> str:
        token = number % length
        start, end = next(piece for piece in _pieces(length) if piece[0] <= token < piece[1])
        how = f"one by one, after {start}" if end - start == 1 else f"in a chunk of {end - start}, after {start}"
        return f"with a state the first wrong prediction is at token {token} ({how} tokens)"

    at_once = Way((Pass(tokens_BT, numbers_BT),))
    return Comparison(at_once, Way(tuple(passes), capacity=length), total=tokens_BT.numel(), tell=tell)


def _pieces(length: int) -> list[tuple[int, int]]:
    """A prompt of 67, some tokens one by one, chunks, a long chunk, and one by one past any window to the end."""
    sizes = [67, 1, 1, 1, 1, 1, 5, 16, 1, 2]
    sizes += [length - sum(sizes) - 40] + [1] * 40
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return [(end - size, end) for size, end in zip(sizes, ends, strict=True) if size]


def padded_on_the_left(model: Model, length: int) -> Comparison:
    """Prompts of unequal length, padded on the left, then decoded on: each as if it were alone."""
    pads, steps = (0, 7, 40), 12
    whole_BT = tokens(model, rows=len(pads), length=length)
    numbers_BT = torch.arange(whole_BT.numel()).view_as(whole_BT)
    is_text_BT = torch.arange(length) >= torch.tensor(pads)[:, None]
    alone = tuple(Pass(whole_BT[row : row + 1, pad:], numbers_BT[row : row + 1, pad:]) for row, pad in enumerate(pads))
    numbers_BT = torch.where(is_text_BT, numbers_BT, -1)
    together = [Pass(whole_BT[:, :-steps], numbers_BT[:, :-steps], is_text_BT[:, :-steps].long())]
    for start, end in ((length - steps, length - 6), *((token, token + 1) for token in range(length - 6, length))):
        together.append(Pass(whole_BT[:, start:end], numbers_BT[:, start:end]))

    def tell(number: int) -> str:
        row, place = divmod(number, length)
        when = "in the prompt" if place < length - steps else "decoding after it"
        return f"with {pads[row]} tokens of padding on the left, token {place - pads[row]} ({when}) differs from alone"

    return Comparison(Way(alone), Way(tuple(together), capacity=length), total=whole_BT.numel(), tell=tell)


def packed_in_a_row(model: Model, length: int) -> Comparison:
    """Documents one after another in a row: each as if it were alone."""
    tokens_BT = tokens(model, rows=2, length=length)
    numbers_BT = torch.arange(tokens_BT.numel()).view_as(tokens_BT)
    begins = ((0, 1, 50, length - 60), (0, 70, 71, length - 5))
    documents_BT = torch.zeros_like(tokens_BT)
    alone = []
    for row, starts in enumerate(begins):
        for document, (start, end) in enumerate(zip(starts, (*starts[1:], length), strict=True)):
            documents_BT[row, start:end] = document
            alone.append(Pass(tokens_BT[row : row + 1, start:end], numbers_BT[row : row + 1, start:end]))

    def tell(number: int) -> str:
        row, place = divmod(number, length)
        start = max(begin for begin in begins[row] if begin <= place)
        return f"token {place - start} of a document that begins at {start} in its row differs from the document alone"

    together = Way((Pass(tokens_BT, numbers_BT, documents_BT),))
    return Comparison(Way(tuple(alone)), together, total=tokens_BT.numel(), tell=tell)


def other_rows_changed(model: Model, length: int) -> Comparison:
    """The first of three rows, among others than before."""
    before_BT, after_BT = (tokens(model, rows=3, length=length, seed=seed) for seed in (0, 1))
    after_BT[0] = before_BT[0]
    numbers_BT = torch.full_like(before_BT, -1)
    numbers_BT[0] = torch.arange(length)

    def tell(number: int) -> str:
        return f"token {number} of a row moved when other rows of the batch were changed"

    before, after = (Way((Pass(tokens_BT, numbers_BT),)) for tokens_BT in (before_BT, after_BT))
    return Comparison(before, after, total=length, tell=tell, training=True)
