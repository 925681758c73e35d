from __future__ import annotations

from pathlib import Path

import pytest

from lmmodel.params.refusal import Refusal
from lmmodel.text import dialogues
from lmmodel.text.dialogues import Dialogue, Message, prompt, tokens, tokens_of_all
from lmmodel.text.split import divide
from lmmodel.text.tokenizer import Tokenizer

TURNS = (
    Message("system", "Be short."),
    Message("user", "Say  hello"),
    Message("assistant", "Hello."),
    Message("user", "Again"),
    Message("assistant", "Hello▁again."),
)


def one(name: str, *messages: Message, group: str = "m") -> Dialogue:
    return Dialogue(name, group, "describe", messages)


def test_only_answers_and_their_ends_are_learnt(pieces: Tokenizer) -> None:
    ids, learn = tokens(pieces, TURNS)
    learnt = [index for index, is_learnt in zip(ids, learn, strict=True) if is_learnt]
    expected = [*pieces.encode("Hello."), pieces.end, *pieces.encode("Hello▁again."), pieces.end]
    assert learnt == expected
    roles = [index for index in ids if index in (pieces.begin, pieces.system, pieces.user, pieces.assistant)]
    assert roles == [pieces.begin, pieces.system, pieces.user, pieces.assistant, pieces.user, pieces.assistant]
    assert pieces.decode(ids) == "".join(message.content for message in TURNS)


def test_a_prompt_is_the_dialogue_up_to_its_answer(pieces: Tokenizer) -> None:
    ids, learn = tokens(pieces, TURNS[:3])
    assert prompt(pieces, TURNS[:2]) == ids[: learn.index(True)]


def test_many_at_once_are_the_same_as_one_by_one(pieces: Tokenizer) -> None:
    some = [one("a", *TURNS), one("b", *TURNS[:3]), one("c", *TURNS[1:3])]
    assert list(tokens_of_all(pieces, some)) == [tokens(pieces, each.messages) for each in some]


def test_dialogues_come_back_as_they_were_equal_ones_once(tmp_path: Path) -> None:
    first, again, other = one("a", *TURNS), one("b", *TURNS), one("c", *TURNS[1:3])
    mute = one("d", Message("user", "Hi"), Message("assistant", ""))
    divided = [("train", first), ("train", mute), ("validation", again), ("validation", other)]
    counted = dialogues.write(tmp_path, divided)
    assert counted["duplicates_removed"] == 1
    assert counted["train"]["tasks"] == {"describe": 1}
    assert list(dialogues.read(tmp_path, "train")) == [first]
    assert list(dialogues.read(tmp_path, "validation")) == [other]


def test_dialogues_stay_with_their_group() -> None:
    some = [one(str(number), *TURNS, group=f"group {number % 50}") for number in range(500)]
    sides: dict[str, set[str]] = {}
    for side, dialogue in divide(some, fraction=0.2):
        sides.setdefault(dialogue.group, set()).add(side)
    assert all(len(side) == 1 for side in sides.values())
    assert {side for found in sides.values() for side in found} == {"train", "validation"}


def test_a_source_without_dialogues_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"dialogues\.source: has no dialogue with text"):
        dialogues.write(tmp_path, [])
