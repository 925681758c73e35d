"""Dialogues from the Hugging Face hub, streamed at a pinned revision; or from files on the web: lmmodel/text/hub.py.

A row holds `messages` (a list of {role, content}), or a `prompt` and a `completion`. Its group is its own text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmmodel.params.refusal import Refusal
from lmmodel.text.dialogues import Dialogue
from lmmodel.text.hub import Hub, rows, within
from lmmodel.text.turns import dialogue_of


class Options(Hub):
    """As Hub; and the names of the columns, of which a row has `messages`, or the other two."""

    messages: str = "messages"
    prompt: str = "prompt"
    completion: str = "completion"


def dialogues(options: Options, *, split: str | None, scratch: Path) -> Iterator[Dialogue]:
    """The dialogues of `split`, None: of the one that the options name."""
    if split == options.split:
        raise Refusal(f"dialogues.validation.split: '{split}' is also what is learnt from (dialogues.source.split)")
    name = split or options.split
    columns = (options.messages, options.prompt, options.completion)
    found = enumerate(rows(options, split=name, place="dialogues.source", scratch=scratch))
    dialogues = (dialogue_of(row, f"{name}#{number}", columns=columns) for number, row in found)
    return within(dialogues, size=lambda one: sum(len(m.content.encode()) for m in one.messages), limit=options.bytes)
