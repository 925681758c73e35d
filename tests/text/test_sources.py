from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lmmodel.params.refusal import Refusal
from lmmodel.text.dialogue import files as dialogue_files
from lmmodel.text.dialogue import huggingface as dialogue_hub
from lmmodel.text.dialogue import python_docs as questions
from lmmodel.text.dialogues import Dialogue, Message
from lmmodel.text.documents import Document
from lmmodel.text.settings import DIALOGUE, SOURCE
from lmmodel.text.source import files, huggingface, python_docs
from tests.text import tables
from tests.text.web import Web


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    return list(python_docs.documents(python_docs.Options(), split=None, scratch=tmp_path_factory.mktemp("s")))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Dialogue]:
    return list(questions.dialogues(questions.Options(), split=None, scratch=tmp_path_factory.mktemp("s")))


def test_both_families_have_the_same_three_kinds() -> None:
    assert SOURCE.names() == DIALOGUE.names() == ("files", "huggingface", "python_docs")


@pytest.mark.parametrize("family", [SOURCE, DIALOGUE])
@pytest.mark.parametrize("kind", SOURCE.names())
def test_a_split_that_a_source_does_not_have_is_refused(family, kind: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"validation\.split: "):
        list(family.load(kind)(family.options(kind)(), split="train", scratch=tmp_path))


# --- Python's own documentation


def test_python_docs_are_megabytes_of_documents_with_names_of_their_own(docs: list[Document]) -> None:
    assert len(docs) > 5000
    assert sum(len(one.text) for one in docs) > 1_500_000
    assert len({one.id for one in docs}) == len(docs)
    assert all(one.text.strip() for one in docs)


def test_a_document_begins_with_what_it_is_about(docs: list[Document]) -> None:
    known = {one.id: one for one in docs}
    disk_usage = known["shutil.disk_usage"]
    assert disk_usage.group == "shutil"
    assert disk_usage.text.startswith("shutil.disk_usage(path)\n\nReturn disk usage statistics about the given path.")
    assert known["topic assert"].text.startswith('The "assert" statement')


def test_source_text_comes_on_top(docs: list[Document], tmp_path: Path) -> None:
    options = python_docs.Options(source_text=True)
    more = list(python_docs.documents(options, split=None, scratch=tmp_path))
    assert more[: len(docs)] == docs
    (shutil,) = [one for one in more if one.id == "source shutil"]
    assert shutil.group == "shutil"
    assert "def disk_usage(path):" in shutil.text


def test_thousands_of_questions_of_every_sort(asked: list[Dialogue]) -> None:
    tasks = Counter(one.task for one in asked)
    assert tasks["describe"] > 3000
    assert min(tasks.values()) > 20
    assert set(tasks) == set(questions._ASKED)
    assert len({one.id for one in asked}) == len(asked)


def test_questions_stay_with_the_documents_of_their_module(asked: list[Dialogue], docs: list[Document]) -> None:
    assert {one.group for one in asked} <= {one.group for one in docs}


def test_answers_are_one_short_line(asked: list[Dialogue]) -> None:
    for one in asked:
        (question, answer) = one.messages
        assert (question.role, answer.role) == ("user", "assistant")
        assert "\n" not in question.content + answer.content
        assert 0 < len(answer.content) < 260


def test_what_a_function_does_is_answered_from_its_documentation(asked: list[Dialogue], docs: list[Document]) -> None:
    text = {one.id: " ".join(one.text.split()) for one in docs}
    told = {one.id: one.messages[1].content for one in asked}
    assert told["describe shutil.disk_usage"] == "Return disk usage statistics about the given path."
    described = [one for one in asked if one.task == "describe"]
    found = sum(one.messages[1].content.rstrip(".")[1:] in text[one.id.split(" ")[1]] for one in described)
    assert found > 0.95 * len(described)  # the rest lost its markup


def test_questions_vary_in_their_words_and_never_between_runs(asked: list[Dialogue], tmp_path: Path) -> None:
    assert list(questions.dialogues(questions.Options(), split=None, scratch=tmp_path)) == asked
    ways = Counter(one.messages[0].content.split(" ")[0] for one in asked if one.task == "describe")
    assert len(ways) > 1


def test_arguments_and_defaults_are_those_of_the_signature() -> None:
    entry = questions.Entry("m", "function", "f", "a, /, b=1, *rest, key=None, **more", "Do it.")
    assert questions._listed(entry) == "It takes a, b, *rest, key and **more."
    dialogue = questions._default(entry)
    assert dialogue is not None
    assert dialogue.messages[1].content in ("b defaults to 1.", "key defaults to None.")
    assert questions._default(questions.Entry("m", "function", "f", "a", "Do it.")) is None
    assert questions._listed(questions.Entry("m", "function", "f", "", "Do it.")) == "It takes no arguments."


# --- files


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data/raw of a project, which is where one stands."""
    monkeypatch.chdir(tmp_path)
    return Path("data/raw")


def read_files(raw: Path, **options: Any) -> list[Document]:
    return list(files.documents(files.Options(**options), split=None, scratch=raw))


def test_files_are_documents_whose_group_is_their_own_text(raw: Path) -> None:
    tables.text(raw / "documents/a.txt", "first")
    tables.lines(raw / "documents/deep/b.jsonl.gz", [{"body": "second"}, {"body": None}, {"body": "first"}])
    (one,) = read_files(raw, paths=("data/raw/documents/*.txt",))
    assert (one.id, one.text) == ("data/raw/documents/a.txt#0.0", "first")
    rows = read_files(raw, paths=("data/raw/documents/**/*.gz",), text_column="body")
    assert [row.text for row in rows] == ["second", "", "first"]
    assert rows[2].group == one.group != rows[0].group


def test_one_long_file_can_be_cut_into_documents(raw: Path) -> None:
    tables.text(raw / "documents/long.txt", "\n\n".join(f"paragraph {number}" for number in range(100)))
    found = read_files(raw, block_bytes=200)
    assert len(found) > 5
    assert len({one.group for one in found}) == len(found)


def test_a_missing_text_column_names_those_that_there_are(raw: Path) -> None:
    tables.parquet(raw / "documents/a.parquet", [{"title": "t", "body": "b"}])
    with pytest.raises(Refusal, match=r"corpus\.source\.text_column: 'text' is not one of the columns title, body"):
        read_files(raw)


# --- the web


def test_documents_from_the_web_have_their_limits_and_splits(web: Web, tmp_path: Path) -> None:
    for split in ("train", "test"):
        tables.lines(web.folder / f"{split}.jsonl", [{"text": f"{split} {number}"} for number in range(9)])
    options = huggingface.Options(
        name="json",
        data_files={"train": (web.url("train.jsonl"),), "test": (web.url("test.jsonl"),)},
        bytes=5 * len("train 0"),
    )
    train = list(huggingface.documents(options, split=None, scratch=tmp_path))
    assert [one.text for one in train] == [f"train {number}" for number in range(5)]
    held_out = list(huggingface.documents(options, split="test", scratch=tmp_path))
    assert [one.id for one in held_out][:2] == ["test#0", "test#1"]


# --- dialogues of one's own

CHAT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes."},
]


def read_dialogues(raw: Path) -> list[Dialogue]:
    return list(dialogue_files.dialogues(dialogue_files.Options(), split=None, scratch=raw))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".jsonl.zst"])
def test_dialogues_come_as_messages_or_as_prompt_and_completion(raw: Path, suffix: str) -> None:
    write = tables.parquet if "parquet" in suffix else tables.lines
    write(raw / f"dialogues/a{suffix}", [{"messages": CHAT}])
    write(raw / f"dialogues/b{suffix}", [{"prompt": "Hi", "completion": "Yes."}])
    found = read_dialogues(raw)
    assert [one.messages for one in found] == [
        tuple(Message(**message) for message in CHAT),
        (Message("user", "Hi"), Message("assistant", "Yes.")),
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "a"}, r"#0: has neither 'messages' nor 'prompt' and 'completion'; its columns: text"),
        (
            {"messages": [{"role": "tool", "content": "a"}]},
            r"#0: the role 'tool' is not one of system, user, assistant",
        ),
        ({"messages": [{"from": "user", "value": "a"}]}, r"#0: messages should be a list of \{role: "),
        ({"prompt": "a", "completion": 4}, r"#0: completion holds int where text should stand"),
    ],
)
def test_what_is_no_dialogue_is_refused_by_name(raw: Path, row: dict[str, object], says: str) -> None:
    tables.lines(raw / "dialogues/a.jsonl", [row])
    with pytest.raises(Refusal, match=says):
        read_dialogues(raw)


def test_dialogues_from_the_web(web: Web, tmp_path: Path) -> None:
    tables.parquet(web.folder / "chat.parquet", [{"messages": CHAT}] * 3)
    options = dialogue_hub.Options(name="parquet", data_files={"train": (web.url("chat.parquet"),)}, documents=2)
    assert len(list(dialogue_hub.dialogues(options, split=None, scratch=tmp_path))) == 2
