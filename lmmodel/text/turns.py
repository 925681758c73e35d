"""A row of somebody's table as a dialogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmmodel.params.refusal import Refusal
from lmmodel.text.dialogues import ROLES, Dialogue, Message
from lmmodel.text.documents import clean
from lmmodel.text.split import digest

TASK = "dialogue"


def dialogue_of(row: Mapping[str, Any], name: str, *, columns: tuple[str, str, str]) -> Dialogue:
    """The dialogue in `row`, which has the first of `columns` (messages), or the other two (prompt and completion).

    Refuses, by the row's `name`, what is no dialogue: other columns, another role, something other than text.
    """
    messages = tuple(_messages(row, name, columns))
    text = "\0".join(f"{message.role}\0{message.content}" for message in messages)
    return Dialogue(name, digest(text), TASK, messages)


def _messages(row: Mapping[str, Any], name: str, columns: tuple[str, str, str]) -> Sequence[Message]:
    messages, prompt, completion = columns
    if row.get(messages) is not None:
        return [_message(item, name, messages) for item in row[messages]]
    if prompt in row and completion in row:
        return [_said("user", row[prompt], name, prompt), _said("assistant", row[completion], name, completion)]
    raise Refusal(f"{name}: has neither '{messages}' nor '{prompt}' and '{completion}'; its columns: {', '.join(row)}")


def _message(item: Any, name: str, column: str) -> Message:
    if not isinstance(item, Mapping) or "role" not in item or "content" not in item:
        raise Refusal(f"{name}: {column} should be a list of {{role: ..., content: ...}}")
    if item["role"] not in ROLES:
        raise Refusal(f"{name}: the role '{item['role']}' is not one of {', '.join(ROLES)}")
    return _said(item["role"], item["content"], name, column)


def _said(role: str, content: Any, name: str, column: str) -> Message:
    if not isinstance(content, str):
        raise Refusal(f"{name}: {column} holds {type(content).__name__} where text should stand")
    return Message(role, clean(content))
