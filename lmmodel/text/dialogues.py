"""Dialogues: who says what, as rows of a file and as the tokens that a model reads.

    <|begin|> <|user|> What does len do? <|assistant|> Return the number of items. <|end|> <|user|> ...

Only what the assistant says is learnt, and the end after it: the user's questions come from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lmmodel.text import sides
from lmmodel.text.parquet import rows
from lmmodel.text.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant")
COLUMNS = ("id", "group", "task", "messages")


class Message(NamedTuple):
    """What one of `system`, `user` and `assistant` says."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Messages in turn, what sort of question they are (`task`), and the group that they stay with."""

    id: str
    group: str
    task: str
    messages: tuple[Message, ...]


def write(folder: Path, divided: Iterable[tuple[str, Dialogue]]) -> dict[str, Any]:
    """Write `divided` (dialogues with their side), each once; what was counted.

    One in which the assistant says nothing is left out.
    """
    found = (_row(side, dialogue) for side, dialogue in divided)
    return sides.write(folder, found, columns=_types(), section="dialogues", noun="dialogue")


def read(folder: Path, split: str) -> Iterator[Dialogue]:
    """The dialogues of one side, in the order in which they were written."""
    for row in rows(folder / f"{split}.parquet", COLUMNS):
        messages = tuple(Message(message["role"], message["content"]) for message in row["messages"])
        yield Dialogue(row["id"], row["group"], row["task"], messages)


def tokens(tokenizer: Tokenizer, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
    """The ids of a dialogue, and which of them are learnt."""
    return _assembled(tokenizer, messages, [tokenizer.encode(message.content) for message in messages])


def tokens_of_all(tokenizer: Tokenizer, dialogues: Sequence[Dialogue]) -> Iterator[tuple[list[int], list[bool]]]:
    """`tokens` of each of `dialogues`, encoded together, which is faster."""
    contents = [message.content for dialogue in dialogues for message in dialogue.messages]
    found = iter(tokenizer.encode_batch(contents))
    for dialogue in dialogues:
        yield _assembled(tokenizer, dialogue.messages, [next(found).tolist() for _ in dialogue.messages])


def prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The ids after which the assistant speaks."""
    return [*tokens(tokenizer, messages)[0], tokenizer.assistant]


def _assembled(
    tokenizer: Tokenizer, messages: Sequence[Message], contents: list[list[int]]
) -> tuple[list[int], list[bool]]:
    ids, learn = [tokenizer.begin], [False]
    for message, content in zip(messages, contents, strict=True):
        answers = message.role == "assistant"
        said = [tokenizer.special[message.role], *content, *([tokenizer.end] if answers else [])]
        ids += said
        learn += [False, *[answers] * (len(said) - 1)]
    return ids, learn


def _row(side: str, dialogue: Dialogue) -> sides.Row:
    messages = dialogue.messages
    answered = any(message.role == "assistant" and message.content for message in messages)
    values = {
        "id": dialogue.id,
        "group": dialogue.group,
        "task": dialogue.task,
        "messages": [message._asdict() for message in messages],
    }
    return sides.Row(side, tuple(message.content for message in messages) if answered else (), values)


def _types() -> dict[str, Any]:
    import pyarrow

    message = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    return {"id": "string", "group": "string", "task": "string", "messages": pyarrow.list_(message)}
