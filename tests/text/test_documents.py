from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.params.refusal import Refusal
from lmmodel.text import documents
from lmmodel.text.documents import Document, blocks, clean
from lmmodel.text.split import divide


def some(*texts: str) -> list[Document]:
    return [Document(f"#{number}", f"group {number}", text) for number, text in enumerate(texts)]


def test_equal_texts_are_kept_once_even_across_the_split(tmp_path: Path) -> None:
    first, second, third = some("the same", "the same\n", "another")
    counted = documents.write(tmp_path, [("train", first), ("validation", second), ("validation", third)])
    assert counted["duplicates_removed"] == 1
    assert [one.text for one in documents.read(tmp_path, "train")] == ["the same"]
    assert [one.text for one in documents.read(tmp_path, "validation")] == ["another"]


def test_documents_come_back_as_they_were(tmp_path: Path) -> None:
    train, held_out = some("  a  b\t\x00 ▁ 😀 é é", "second")
    documents.write(tmp_path, [("train", train), ("validation", held_out)])
    assert list(documents.read(tmp_path, "train")) == [train]
    assert list(documents.read(tmp_path, "validation")) == [held_out]


def test_adding_text_moves_nothing(tmp_path: Path) -> None:
    before = some(*(f"text {number}" for number in range(200)))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    documents.write(tmp_path / "a", divide(before, fraction=0.2))
    added = [Document("new", "new group", "quite new"), *before]
    documents.write(tmp_path / "b", divide(added, fraction=0.2))
    held_out = [{one.id for one in documents.read(tmp_path / name, "validation")} for name in "ab"]
    assert held_out[0] == held_out[1] - {"new"}


def test_bytes_are_the_same_every_time(tmp_path: Path) -> None:
    texts = some(*("x" * (number % 700) + str(number) for number in range(9000)))
    for name in "ab":
        (tmp_path / name).mkdir()
        documents.write(tmp_path / name, divide(iter(texts), fraction=0.1))
    for split in ("train", "validation"):
        assert (tmp_path / f"a/{split}.parquet").read_bytes() == (tmp_path / f"b/{split}.parquet").read_bytes()


def test_a_source_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"corpus\.source: has no document with text"):
        documents.write(tmp_path, [("train", one) for one in some("", " \n ")])


@pytest.mark.parametrize(
    ("full", "empty", "advice"), [("train", "validation", "raise"), ("validation", "train", "lower")]
)
def test_a_split_with_an_empty_side_is_refused(tmp_path: Path, full: str, empty: str, advice: str) -> None:
    with pytest.raises(Refusal, match=f"none falls on the side of {empty}; {advice} the fraction"):
        documents.write(tmp_path, [(full, one) for one in some("text")])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    documents.write(tmp_path, zip(("train", "validation"), some("one", "two"), strict=True))
    path = tmp_path / "train.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(Refusal, match=r"train\.parquet: cannot be read"):
        list(documents.read(tmp_path, "train"))


def test_cleaning_keeps_all_but_marks_and_blank_edges() -> None:
    assert clean("\ufeff\n \r\n  a\r\n\tb  c\rd \n\n") == "  a\n\tb  c\nd "
    assert clean("a\ud800b") == "a\ufffdb"
    assert clean(" \n") == ""


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.lists(st.text(alphabet="ab \n"), max_size=8), st.integers(1, 40))
def test_blocks_lose_no_word(paragraphs: list[str], limit_bytes: int) -> None:
    text = "\n\n".join(paragraphs)
    found = list(blocks(text, limit_bytes=limit_bytes))
    assert " ".join(found).split() == text.split()
    assert all(len(block.encode()) <= limit_bytes or "\n\n" not in block.strip("\n") for block in found)


@given(
    st.lists(st.tuples(st.text(alphabet="ab é\n", max_size=20), st.sampled_from(["\n", "\n\n\n", " \n\t\n"]))),
    st.integers(1, 40),
)
def test_blocks_keep_the_blank_lines_between_which_nothing_was_cut(
    parts: list[tuple[str, str]], limit_bytes: int
) -> None:
    text = "".join(f"{paragraph}\n{blank}" for paragraph, blank in parts)
    place = 0
    for block in blocks(text, limit_bytes=limit_bytes):
        found = text.index(block, place)
        assert not text[place:found].strip()
        place = found + len(block)
    assert not text[place:].strip()


def test_a_program_that_is_cut_keeps_its_blank_lines() -> None:
    text = "def a():\n    x\n\n\ndef b():\n    y\n\n\ndef c():\n    z\n"
    assert list(blocks(text, limit_bytes=40)) == ["def a():\n    x\n\n\ndef b():\n    y\n", "def c():\n    z\n"]


def test_blocks_uncut_are_the_text() -> None:
    assert list(blocks("a\n\nb", limit_bytes=None)) == ["a\n\nb"]
