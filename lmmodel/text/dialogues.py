"""Dialogues: who says what, as rows of a file and as the tokens that a model reads.

    <|begin|> <|user|> What does len do? <|assistant|> Return the number of items. <|end|> <|user|> ...

Only what the assistant says is learnt, and the end after it: the user's questions come from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lmmodel.text.documents import Count, require_both
from lmmodel.text.parquet import Writer, rows
from lmmodel.text.split import SPLITS, digest, side
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


@dataclass
class _Tally(Count):
    tasks: dict[str, int] = field(default_factory=dict)


def divide(dialogues: Iterable[Dialogue], *, fraction: float) -> Iterator[tuple[str, Dialogue]]:
    """Each dialogue with its side of the split, which is that of the documents of its group."""
    return ((side(dialogue.group, fraction=fraction), dialogue) for dialogue in dialogues)


def write(folder: Path, divided: Iterable[tuple[str, Dialogue]]) -> dict[str, Any]:
    """Write `divided` as train.parquet and validation.parquet; what was counted.

    Of equal dialogues one is kept, and none in which the assistant says nothing.
    """
    tallies = {split: _Tally() for split in SPLITS}
    seen: set[str] = set()
    duplicates = 0
    with ExitStack() as stack:
        writers = {split: stack.enter_context(Writer(folder / f"{split}.parquet", _types())) for split in SPLITS}
        for split, dialogue in divided:
            if not any(message.role == "assistant" and message.content for message in dialogue.messages):
                continue
            key = digest("\0".join(f"{role}\0{content}" for role, content in dialogue.messages))
            if key in seen:
                duplicates += 1
                continue
            seen.add(key)
            _count(tallies[split], dialogue)
            writers[split].add(_row(dialogue))
    require_both(dict(tallies), section="dialogues", noun="dialogue")
    facts = {split: {**tally.facts("dialogues"), "tasks": tally.tasks} for split, tally in tallies.items()}
    return {**facts, "duplicates_removed": duplicates}


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


def _count(tally: _Tally, dialogue: Dialogue) -> None:
    tally.rows += 1
    tally.bytes += sum(len(message.content.encode()) for message in dialogue.messages)
    tally.groups.add(dialogue.group)
    tally.tasks[dialogue.task] = tally.tasks.get(dialogue.task, 0) + 1


def _row(dialogue: Dialogue) -> dict[str, Any]:
    messages = [message._asdict() for message in dialogue.messages]
    return {"id": dialogue.id, "group": dialogue.group, "task": dialogue.task, "messages": messages}


def _types() -> dict[str, Any]:
    import pyarrow

    message = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    return {"id": "string", "group": "string", "task": "string", "messages": pyarrow.list_(message)}
