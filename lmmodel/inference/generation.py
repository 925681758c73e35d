"""Text, one token at a time: prompts of any lengths together, each as if it were alone.

Prompts are padded on the left, and the padding is a document of its own, so that no token sees it. What the model
remembers of earlier tokens is kept in its state; only the new token is computed. When the state is full, all is read
afresh: a row that has filled the model's context goes on with the later half of it.

Nothing depends on who shares the batch: each prompt draws from a generator of its own, seeded by (seed, its place).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model
    from lmmodel.architecture.state import State

Ended = Callable[[list[int]], bool]
"""Asked after each token with all that a prompt's answer has so far: is it finished?"""

_PADDING, _TEXT = 0, 1  # the two documents of a padded row
_ROWS = {"cpu": 64}  # prompts at a time; twice as many gained nothing there
_MANY_ROWS = 512  # on an accelerator


def generate(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    stop: Collection[int] = (),
    ended: Ended | None = None,
    advance: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """The tokens that follow each of `prompts`: at most `tokens`, up to but without the first one in `stop`.

    `temperature` 0 takes the likeliest token. `ended` finishes a prompt by what was said; `advance` hears how many
    prompts have just been finished. ValueError for a prompt without a token.
    """
    manner = _Manner(tokens, temperature, seed, frozenset(stop), ended)
    answers: list[list[int]] = [[] for _ in prompts]
    by_length = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    together = _ROWS.get(next(model.parameters()).device.type, _MANY_ROWS)
    for first in range(0, len(prompts), together):
        rows = by_length[first : first + together]
        for row, token in _Batch(model, {row: prompts[row] for row in rows}, manner).run():
            answers[row].append(token)
        if advance:
            advance(len(rows))
    return answers


def stream(
    model: Model,
    prompt: Sequence[int],
    *,
    tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    stop: Collection[int] = (),
) -> Iterator[int]:
    """As `generate` for one prompt, each token as soon as it is chosen."""
    batch = _Batch(model, {0: prompt}, _Manner(tokens, temperature, seed, frozenset(stop)))
    return (step.token for step in batch.run())


class _Step(NamedTuple):
    row: int
    token: int


@dataclass(frozen=True)
class _Manner:
    tokens: int
    temperature: float
    seed: int
    stop: frozenset[int]
    ended: Ended | None = None


class _Batch:
    """Some prompts on their way; rows keep the places that they have among all prompts."""

    def __init__(self, model: Model, prompts: dict[int, Sequence[int]], manner: _Manner) -> None:
        if any(len(prompt) == 0 for prompt in prompts.values()):
            raise ValueError("a prompt needs at least one token: the tokenizer's `begin` where there is no text")
        self.model, self.manner = model, manner
        self.context = model.declaration.context
        self.device = next(model.parameters()).device
        keep = max(self.context - manner.tokens, (self.context + 1) // 2)
        self.seen = {row: list(prompt)[-keep:] for row, prompt in prompts.items()}
        self.said: dict[int, list[int]] = {row: [] for row in prompts}
        self.live = list(prompts) if manner.tokens > 0 else []
        self.draws = {row: _generator(manner.seed, row) for row in prompts} if manner.temperature > 0 else {}

    def run(self) -> Iterator[_Step]:
        """Every token of every answer, as they are chosen."""
        while self.live:
            seated = list(self.live)
            state, logits_BV = self._read(seated)
            while True:
                yield from self._take(seated, self._choose(logits_BV, seated))
                if not self.live or state.length == state.capacity:
                    break
                state, seated = self._compact(state, seated)
                logits_BV = self._go_on(state, seated)
            self._shorten()

    @torch.inference_mode()
    def _read(self, rows: list[int]) -> tuple[State, Tensor]:
        """All that `rows` see, at once: the state after it, and what comes next."""
        widest = max(len(self.seen[row]) for row in rows)
        tokens_BT = torch.zeros(len(rows), widest, dtype=torch.int64)
        documents_BT = torch.full((len(rows), widest), _PADDING)
        for index, row in enumerate(rows):
            ids = self.seen[row]
            tokens_BT[index, widest - len(ids) :] = torch.tensor(ids)
            documents_BT[index, widest - len(ids) :] = _TEXT
        ragged = bool((documents_BT == _PADDING).any())
        state = self.model.state(len(rows), min(self.context, widest + self.manner.tokens))
        trace = self.model.trace(
            tokens_BT.to(self.device), documents_BT=documents_BT.to(self.device) if ragged else None, state=state
        )
        return state, self.model.logits(trace.hidden_BTD[:, -1])

    @torch.inference_mode()
    def _go_on(self, state: State, seated: list[int]) -> Tensor:
        last_B1 = torch.tensor([[self.seen[row][-1]] for row in seated], device=self.device)
        return self.model(last_B1, state=state)[:, -1]

    @torch.inference_mode()
    def _compact(self, state: State, seated: list[int]) -> tuple[State, list[int]]:
        """Without the finished rows once they are half of all: dropping each at once would copy the state too often."""
        if 2 * len(self.live) > len(seated):
            return state, seated
        places = [place for place, row in enumerate(seated) if row in self.live]
        return state.select(torch.tensor(places, device=self.device)), [seated[place] for place in places]

    @torch.inference_mode()
    def _choose(self, logits_BV: Tensor, seated: list[int]) -> list[int]:
        """The likeliest tokens, or a draw: the largest of logits / temperature + Gumbel noise is one."""
        if self.manner.temperature > 0:
            width = logits_BV.shape[-1]
            uniform_BV = torch.stack([torch.rand(width, generator=self.draws[r], dtype=torch.float64) for r in seated])
            noise_BV = -torch.log(-torch.log(uniform_BV.clamp(min=1e-300)))
            logits_BV = logits_BV.cpu().double() / self.manner.temperature + noise_BV
        return logits_BV.argmax(dim=-1).tolist()

    def _take(self, seated: list[int], tokens: list[int]) -> Iterator[_Step]:
        for row, token in zip(seated, tokens, strict=True):
            self.seen[row].append(token)
            if row in self.live:
                yield from self._say(row, token)

    def _say(self, row: int, token: int) -> Iterator[_Step]:
        manner, said = self.manner, self.said[row]
        if token not in manner.stop:
            said.append(token)
            yield _Step(row, token)
            if len(said) < manner.tokens and not (manner.ended and manner.ended(said)):
                return
        self.live.remove(row)

    def _shorten(self) -> None:
        """Rows that have filled the context go on with its later half."""
        for row in self.live:
            if len(self.seen[row]) > self.context:
                self.seen[row] = self.seen[row][-((self.context + 1) // 2) :]


def _generator(seed: int, row: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {row}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
