"""The examples of this project's own tasks: held-out documents and dialogues of this run, the same for every model.

Which of them are taken, which false answers stand beside the true one and in what order is decided by hashes of their
names: nothing is drawn, and no seed changes it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from lmmodel.params.refusal import Refusal
from lmmodel.text.dialogues import Dialogue
from lmmodel.text.documents import Document
from lmmodel.text.parquet import Writer

DOCUMENTS, CHOICE, ANSWER = "documents.parquet", "choice.parquet", "answer.parquet"
CHOICES = 4
_NEAREST = 12  # false answers are drawn from so many that come nearest in length

Named = TypeVar("Named", Document, Dialogue)
Row = dict[str, Any]


def documents(held_out: Iterable[Document], *, count: int) -> list[Row]:
    """At most `count` documents to be predicted."""
    return [{"id": item.id, "group": item.group, "text": item.text} for item in _some(list(held_out), count)]


def answers(held_out: Iterable[Dialogue], *, count: int) -> list[Row]:
    """At most `count` questions, each with its true answer; a Refusal where no dialogue ends in one."""
    rows = [{**_question(item), "answer": _answer(item)} for item in _some(_answered(held_out), count)]
    if not rows:
        raise Refusal(
            "evaluate.tasks: 'dialogues_answer' needs validation dialogues that end in an answer, and there is none: "
            "leave the task out"
        )
    return rows


def choices(held_out: Iterable[Dialogue], *, count: int) -> list[Row]:
    """At most `count` questions, each with the true answer among `CHOICES`.

    The others are true of other questions of the same sort (of any, where the sort is too rare), of about its length.
    A Refusal where there are not even two different answers.
    """
    answered = _answered(held_out)
    of_all, of_task = _Answers(answered), {}
    for task in sorted({item.task for item in answered}):
        of_task[task] = _Answers([item for item in answered if item.task == task])
    rows = []
    for item in _some(answered, count):
        false = of_task[item.task].false(item)
        if len(false) < CHOICES - 1:
            false = of_all.false(item)
        place = _hash("place", item.id) % (len(false) + 1)
        rows.append(
            {**_question(item), "choices": [*false[:place], _answer(item), *false[place:]], "answer": _answer(item)}
        )
    if not rows or any(len(row["choices"]) < 2 for row in rows):
        raise Refusal(
            "evaluate.tasks: 'dialogues_choice' needs validation dialogues with different answers, and there are "
            f"{len({_answer(item) for item in answered})}: raise dialogues.validation.fraction, or leave the task out"
        )
    return rows


class _Answers:
    """Different answers, by length."""

    def __init__(self, dialogues: list[Dialogue]) -> None:
        first: dict[str, Dialogue] = {}
        for item in sorted(dialogues, key=lambda item: item.id):
            first.setdefault(_answer(item), item)
        self.known = sorted(first.values(), key=lambda item: (len(_answer(item)), _hash("order", item.id)))
        self.lengths = [len(_answer(item)) for item in self.known]

    def false(self, asked: Dialogue) -> list[str]:
        """Of the answers nearest in length, `CHOICES` - 1 that are not known to answer the same question."""
        true, question = _answer(asked), asked.messages[:-1]
        left = right = bisect_left(self.lengths, len(true))
        near: list[Dialogue] = []
        while len(near) < _NEAREST and (left > 0 or right < len(self.known)):
            below = len(true) - self.lengths[left - 1] if left > 0 else None
            above = self.lengths[right] - len(true) if right < len(self.known) else None
            if above is None or (below is not None and below < above):
                left -= 1
                item = self.known[left]
            else:
                item = self.known[right]
                right += 1
            if _answer(item) != true and item.messages[:-1] != question:
                near.append(item)
        near.sort(key=lambda item: _hash(asked.id, item.id))
        return [_answer(item) for item in near[: CHOICES - 1]]


def write(path: Path, rows: Sequence[Row]) -> None:
    """The rows as parquet, typed, so that a column of dates or numbers stays the text that it is."""
    import pyarrow

    message = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    types: dict[str, Any] = {"dialogue": pyarrow.list_(message), "choices": pyarrow.list_(pyarrow.string())}
    with Writer(path, {name: types.get(name, "string") for name in rows[0]}) as file:
        for row in rows:
            file.add(row)


def _answered(dialogues: Iterable[Dialogue]) -> list[Dialogue]:
    """Those that end in an answer to something."""
    return [
        item for item in dialogues if len(item.messages) > 1 and item.messages[-1].role == "assistant" and _answer(item)
    ]


def _answer(item: Dialogue) -> str:
    return item.messages[-1].content


def _question(item: Dialogue) -> Row:
    """What stands before the answer: with its roles, and as plain text, a line for each message."""
    before = item.messages[:-1]
    return {
        "id": item.id,
        "group": item.group,
        "sort": item.task,
        "text": "\n".join(message.content for message in before),
        "dialogue": [{"role": message.role, "content": message.content} for message in before],
    }


def _some(items: list[Named], count: int) -> list[Named]:
    return sorted(items, key=lambda item: (_hash("chosen", item.id), item.id))[:count]


def _hash(*words: str) -> int:
    return int.from_bytes(blake2b("\n".join(words).encode(), digest_size=8).digest(), "big")
