"""Which examples are taken, and what stands beside the true answer: decided by names alone, and fair."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmodel.inference import examples
from lmmodel.params.refusal import Refusal
from lmmodel.text.dialogues import Dialogue, Message
from lmmodel.text.documents import Document
from lmmodel.text.parquet import rows


def dialogue(number: int, answer: str, task: str = "describe", question: str | None = None) -> Dialogue:
    asked = Message("user", question or f"What is {number}?")
    return Dialogue(f"d{number}", f"g{number}", task, (asked, Message("assistant", answer)))


ANSWERS = st.lists(st.text("abc", min_size=1, max_size=8), min_size=2, max_size=60)


@settings(max_examples=60)
@given(answers=ANSWERS, count=st.integers(1, 80))
def test_each_question_has_its_answer_once_among_others_of_its_sort(answers, count):
    asked = [dialogue(n, answer, task=f"sort {n % 2}") for n, answer in enumerate(answers)]
    if len(set(answers)) < 2:
        return
    by_id = {item.id: item for item in asked}
    found = examples.choices(asked, count=count)
    assert len(found) == min(count, len(asked))
    for row in found:
        item = by_id[row["id"]]
        assert row["answer"] == item.messages[-1].content
        assert row["choices"].count(row["answer"]) == 1
        assert len(set(row["choices"])) == len(row["choices"])
        same_sort = {other.messages[-1].content for other in asked if other.task == item.task}
        if len(same_sort) >= examples.CHOICES:
            assert set(row["choices"]) <= same_sort
        assert len(row["choices"]) == min(examples.CHOICES, len(same_sort if len(same_sort) > 3 else set(answers)))


def test_neither_the_order_of_dialogues_nor_a_question_more_changes_what_is_asked():
    asked = [dialogue(n, f"answer {n * 7919}") for n in range(50)]
    shuffled = random.Random(1).sample(asked, k=50)
    assert examples.choices(shuffled, count=20) == examples.choices(asked, count=20)
    before = [row["id"] for row in examples.answers(asked, count=20)]
    after = [row["id"] for row in examples.answers([*asked, dialogue(99, "one more")], count=20)]
    assert len(set(before) - set(after)) <= 1


def test_false_answers_are_about_as_long_as_the_true_one():
    asked = [dialogue(n, "x" * (n + 1)) for n in range(200)]
    for row in examples.choices(asked, count=200):
        lengths = [len(choice) for choice in row["choices"]]
        assert max(lengths) - min(lengths) <= 12


def test_the_place_of_the_true_answer_says_nothing():
    found = examples.choices([dialogue(n, f"{n:04}") for n in range(800)], count=800)
    places = [row["choices"].index(row["answer"]) for row in found]
    assert all(150 < places.count(place) < 250 for place in range(4))


def test_another_answer_to_the_very_same_question_is_no_false_one():
    twice = [dialogue(1, "one", question="What?"), dialogue(2, "two", question="What?"), dialogue(3, "six")]
    (row,) = [row for row in examples.choices(twice, count=3) if row["id"] == "d1"]
    assert set(row["choices"]) == {"one", "six"}


def test_without_two_different_answers_the_key_to_change_is_named():
    with pytest.raises(Refusal, match=r"there are 1: raise dialogues\.validation\.fraction"):
        examples.choices([dialogue(1, "same"), dialogue(2, "same")], count=2)


def test_a_dialogue_that_does_not_end_in_an_answer_is_not_asked():
    open_end = Dialogue("d9", "g", "describe", (Message("assistant", "a"), Message("user", "b")))
    only_said = Dialogue("d8", "g", "describe", (Message("assistant", "a"),))
    assert [row["id"] for row in examples.answers([open_end, only_said, dialogue(1, "a")], count=9)] == ["d1"]


def test_without_any_answer_the_task_to_leave_out_is_named():
    with pytest.raises(Refusal, match="'dialogues_answer' needs validation dialogues that end in an answer"):
        examples.answers([Dialogue("d8", "g", "describe", (Message("assistant", "a"),))], count=1)


def test_a_question_of_many_turns_keeps_its_roles_and_reads_as_lines():
    turns = (Message("system", "S"), Message("user", "Q"), Message("assistant", "A"), Message("user", "R"))
    (row,) = examples.answers([Dialogue("d", "g", "talk", (*turns, Message("assistant", "T")))], count=1)
    assert row["text"] == "S\nQ\nA\nR"
    assert [(said["role"], said["content"]) for said in row["dialogue"]] == list(turns)
    assert row["answer"] == "T"


def test_examples_are_written_as_they_are(tmp_path):
    held_out = [Document(f"d{n}", "g", text) for n, text in enumerate(["2020-01-01", "17", "null", "é\r\n\u2028€"])]
    written = examples.documents(held_out, count=9)
    examples.write(tmp_path / "documents.parquet", written)
    assert list(rows(tmp_path / "documents.parquet", ("id", "group", "text"))) == written
