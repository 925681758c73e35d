"""Text from a trained model: a prompt continued, or questions answered as they come.

Without a checkpoint's folder it is models/finetune where there was a fine-tuning, models/pretrain otherwise. What the
model says is printed as it is chosen.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lmmodel.learning import checkpoint
from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import SEEDS
from pipelines import paths

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model
    from lmmodel.text.dialogues import Message
    from lmmodel.text.tokenizer import Tokenizer

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, what it is asked, and how it chooses."""
    parser.add_argument(
        "checkpoint", nargs="?", type=Path, metavar="CHECKPOINT", help="a folder, such as models/pretrain"
    )
    parser.add_argument("--prompt", default=None, help="text to continue; with --chat, the one question to answer")
    parser.add_argument("--chat", action="store_true", help="answer questions, a line each, until the end of input")
    parser.add_argument("--tokens", type=int, default=200, help="at most so many in one go (200)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest, 1 what it learnt (0.8)")
    parser.add_argument("--seed", type=int, default=None, help="the same seed says the same; otherwise a new one")
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps (auto: the fastest)")
    parser.add_argument("--code", action="append", default=[], help="a kind's file that the checkpoint may run")


def show(told: argparse.Namespace) -> None:
    """Print what the model says."""
    if told.tokens < 1 or told.temperature < 0:
        raise Refusal("lmmodel generate: --tokens should be at least 1, --temperature at least 0")
    if told.seed is not None and told.seed not in SEEDS:
        raise Refusal(f"lmmodel generate: --seed should be from 0 to {SEEDS[-1]:,}")
    folder = told.checkpoint or standing_checkpoint()
    checkpoint.expect(folder)
    voice = Voice(folder, told)
    if told.chat:
        voice.chat([told.prompt] if told.prompt is not None else questions())
    else:
        voice.continue_text(told.prompt or "")


def standing_checkpoint() -> Path:
    """The furthest trained model that stands in the project."""
    tuned = paths.stage("finetune").output
    return tuned if checkpoint.is_in(tuned) else paths.stage("pretrain").output


def questions() -> Iterator[str]:
    """Lines that a person types, or that come through a pipe."""
    if sys.stdin.isatty():
        print("Ask; an empty line forgets what was said, Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return


class Voice:
    """A model that speaks."""

    def __init__(self, folder: Path, told: argparse.Namespace) -> None:
        from lmmodel.learning.machine import device

        self.model: Model
        self.tokenizer: Tokenizer
        self.model, self.tokenizer = checkpoint.load(folder, code=told.code)
        self.model.to(device(told.device)).eval()
        self.told = told
        self.seed = secrets.randbits(32) if told.seed is None else told.seed

    def continue_text(self, text: str) -> None:
        """Print `text` and what follows it."""
        print(text, end="", flush=True)
        for part in self._say([self.tokenizer.begin, *self.tokenizer.encode(text)]):
            print(part, end="", flush=True)
        print()

    def chat(self, asked: Iterable[str]) -> None:
        """Print an answer to each question, with what was said before in mind."""
        from lmmodel.text.dialogues import Message, prompt

        said: list[Message] = []
        for question in asked:
            if not question:
                said = []
                continue
            said.append(Message("user", question))
            answer = ""
            for part in self._say(prompt(self.tokenizer, said)):
                print(part, end="", flush=True)
                answer += part
            print()
            said.append(Message("assistant", answer))

    def _say(self, ids: list[int]) -> Iterator[str]:
        """The text after `ids`, in parts that are whole letters."""
        from lmmodel.inference.generation import stream

        stop = (self.tokenizer.begin, self.tokenizer.end)
        told, spoken, shown = self.told, [], ""
        for token in stream(
            self.model, ids, tokens=told.tokens, temperature=told.temperature, seed=self.seed, stop=stop
        ):
            spoken.append(token)
            text = self.tokenizer.decode(spoken)
            if not text.endswith(_UNFINISHED):
                yield text[len(shown) :]
                shown = text
        self.seed += 1
        yield self.tokenizer.decode(spoken)[len(shown) :]
