"""This project's models as lm-eval knows models: text in, likelihoods and text out.

Three places where such adapters have been wrong before, and what is done here:

- A continuation whose first letters merge with the end of its context (`"foot"` + `"ball"`): both are tokenized
  together, and what is scored begins with the first token that the context alone does not share. Every token that goes
  in is one of the joint text, so each score is a probability of that text.
- Off by one: the token at place i is scored by the logits of place i - 1; `likelihood.py` is where that stands, once.
- Padding: on the right where texts are scored, a document of its own where text is generated. Neither is ever seen.

Every text begins with the token that documents begin with in training. A task whose rows carry a `dialogue` is put
to a model that was fine-tuned on dialogues with their role tokens, exactly as it met them. To any other model the same
row is plain text: its role tokens stand for nothing yet, and a prompt full of them would only handicap it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs

from lmmodel.inference.generation import generate
from lmmodel.inference.likelihood import Passage, score
from lmmodel.text.dialogues import Message, prompt

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model
    from lmmodel.text.tokenizer import Tokenizer

DIALOGUE = "dialogue"
"""The field of a task's rows that holds the messages before the answer."""

_LINE = "\n"  # stands before an answer in plain text, and nowhere in a dialogue
_TOKENS = 256  # to generate where a task does not say


class LanguageModel(TemplateLM):
    """A model and its tokenizer, for lm-eval.

    `roles`: it was fine-tuned on dialogues. `seed`: of what is drawn where a task asks for a temperature above 0.
    `advance` hears of every request that was answered.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        *,
        roles: bool = False,
        seed: int = 0,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.roles = roles
        self.seed = seed
        self.advance = advance or (lambda count: None)

    @property
    def eot_token_id(self) -> int:
        """The token after an answer."""
        return self.tokenizer.end

    @property
    def prefix_token_id(self) -> int:
        """The token before a document."""
        return self.tokenizer.begin

    @property
    def max_length(self) -> int:
        """Tokens that the model looks back on."""
        return int(self.model.declaration.context)

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval would call kept requests by; none are kept."""
        return "lmmodel"

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """The tokens of a text, after the one that begins it."""
        ids = self.tokenizer.encode(string)
        return ids if add_special_tokens is False else [self.tokenizer.begin, *ids]

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """The joint text's tokens, split before the first that the context alone does not have."""
        whole, alone = self.tok_encode(context + continuation), self.tok_encode(context)
        shared = next((i for i, pair in enumerate(zip(whole, alone, strict=False)) if pair[0] != pair[1]), None)
        split = min(len(whole), len(alone)) if shared is None else shared
        return whole[:split], whole[split:]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Of each (context, continuation): the log-likelihood in nats, and whether it is what greedy decoding says."""
        pairs = []
        for request in requests:
            context, continuation = request.args[:2]
            messages = self._messages(request)
            if messages is None:
                pairs.append((request.args, *self._encode_pair(context, continuation)))
            else:  # a role token ends the prompt: nothing merges across it
                answer = self.tokenizer.encode(continuation.removeprefix(_LINE))
                pairs.append((request.args, prompt(self.tokenizer, messages), answer))
        return self._loglikelihood_tokens(pairs)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        passages = [Passage([*context, *continuation], len(context)) for _, context, continuation in requests]
        return [(nats, greedy) for nats, greedy in self._score(passages)]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Of each text as a whole, from the token that begins it on: the log-likelihood in nats."""
        return [nats for nats, _ in self._score([Passage(self.tok_encode(request.args[0]), 1) for request in requests])]

    def _score(self, passages: list[Passage]) -> list[tuple[float, bool]]:
        return [(part.nats, part.greedy) for part in score(self.model, passages, advance=self.advance)]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """What follows each context, up to a stop of its task or a token that ends or begins something."""
        alike: dict[_Wish, list[int]] = {}
        for place, request in enumerate(requests):
            alike.setdefault(_Wish.of(request.args[1]), []).append(place)
        texts = [""] * len(requests)
        for wish, places in alike.items():
            for place, text in zip(places, self._fulfil(wish, [requests[place] for place in places]), strict=True):
                texts[place] = text
        return texts

    def _fulfil(self, wish: _Wish, requests: list[Instance]) -> list[str]:
        prompts = [self._prompt(request) for request in requests]
        answers = generate(
            self.model,
            prompts,
            tokens=wish.tokens,
            temperature=wish.temperature,
            seed=self.seed,
            stop=self._boundaries(),
            ended=lambda said: wish.stops(self.tokenizer.decode(said[-wish.reach :])),
            advance=self.advance,
        )
        return [wish.cut(self.tokenizer.decode(answer)) for answer in answers]

    def _prompt(self, request: Instance) -> list[int]:
        messages = self._messages(request)
        return self.tok_encode(request.args[0]) if messages is None else prompt(self.tokenizer, messages)

    def _messages(self, request: Instance) -> list[Message] | None:
        """The dialogue so far, where this model knows roles and the task asks for one.

        None of it where the context is empty: then lm-eval asks how likely an answer is by itself.
        """
        messages = request.doc.get(DIALOGUE) if self.roles and isinstance(request.doc, dict) else None
        if not messages:
            return None
        return [Message(**message) for message in messages] if request.args[0] else []

    def _boundaries(self) -> tuple[int, ...]:
        known = self.tokenizer
        return known.begin, known.end, known.user, known.assistant, known.system


@dataclass(frozen=True)
class _Wish:
    """What a task wants generated: how much, how, and up to where."""

    tokens: int
    temperature: float
    until: tuple[str, ...]

    @classmethod
    def of(cls, told: dict[str, Any]) -> _Wish:
        kwargs: dict[str, Any] = dict(normalize_gen_kwargs(told, _TOKENS))
        until = tuple(stop for stop in kwargs["until"] if stop)
        return cls(kwargs["max_gen_toks"], float(kwargs.get("temperature", 0.0)), until)

    @property
    def reach(self) -> int:
        """Among so many of the last tokens a stop lies that the newest completes: one a byte, and a letter's more."""
        return max((len(stop.encode()) for stop in self.until), default=0) + 4

    def stops(self, text: str) -> bool:
        return any(stop in text for stop in self.until)

    def cut(self, text: str) -> str:
        return text[: min((text.find(stop) for stop in self.until if stop in text), default=len(text))]
