from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmmodel.params.refusal import Refusal
from lmmodel.text.pieces import sentences
from lmmodel.text.tokenizer import SPECIALS, Tokenizer, train
from tests.text.conftest import SENTENCES

ODD = (
    "", " ", "a  b", "\ta\n\n b  ", "▁x▁▁ ▁", "\0a\0", "\x01\x7f", "😀👩‍👩‍👧", "é é", "\ufeff", "\r\n", " " * 50,
    "".join(SPECIALS), "<s></s><unk><0x41><|unknown|>", "ﬁ Å ﷺ", "\U0010ffff",
)  # fmt: skip


@pytest.fixture(scope="module", params=["bpe", "unigram", "char", "byte"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    sizes = {"bpe": 360, "unigram": 320, "char": 300, "byte": 261}
    return train(SENTENCES * 5, algorithm=request.param, vocab_size=sizes[request.param])


@given(text=st.text())
@example(text="▁ a ▁b  c▁")
@example(text="\ud7ff\ue000")
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(tokenizer.special.values())
    assert tokenizer.byte_lengths()[ids].sum() == len(text.encode())


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_come_back_alone_and_in_company(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(SENTENCES[2] + text + SENTENCES[0])) == SENTENCES[2] + text + SENTENCES[0]


@given(st.lists(st.sampled_from(["word", " ", "  ", "\n", "▁", "Return", " the", "é", "x" * 90]), max_size=400))
def test_long_texts_are_cut_where_it_changes_nothing(pieces: Tokenizer, parts: list[str]) -> None:
    text = ("".join(parts) + " and so on") * 30
    if "▁" in text:
        assert pieces.decode(pieces.encode(text)) == text
    else:
        whole = pieces._codec._processor.encode(text)  # type: ignore[attr-defined]
        assert pieces.encode(text) == whole


def test_a_vocabulary_is_as_large_as_it_was_asked_to_be(tokenizer: Tokenizer) -> None:
    lengths = tokenizer.byte_lengths()
    assert len(lengths) == tokenizer.vocab_size
    specials = list(tokenizer.special.values())
    assert len(set(specials)) == 5
    assert not lengths[specials].any()


def test_ids_that_are_no_text_decode_to_something_all_the_same(pieces: Tokenizer) -> None:
    ids = list(range(pieces.vocab_size))
    random.Random(1).shuffle(ids)
    assert isinstance(pieces.decode(ids), str)
    assert pieces.decode([pieces.begin, *pieces.encode("a b"), pieces.end]) == "a b"


def test_a_batch_is_its_texts_one_by_one_whatever_the_number_of_workers(tokenizer: Tokenizer) -> None:
    texts = [*ODD, *SENTENCES, SENTENCES[0] * 900]
    one_by_one = [tokenizer.encode(text) for text in texts]
    for workers in (1, 3):
        assert [ids.tolist() for ids in tokenizer.encode_batch(texts, workers=workers)] == one_by_one
        assert all(ids.dtype == np.int32 for ids in tokenizer.encode_batch(texts, workers=workers))


def test_saved_and_loaded_it_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.special == tokenizer.special
    assert loaded.vocab_size == tokenizer.vocab_size
    assert loaded.encode(SENTENCES[0]) == tokenizer.encode(SENTENCES[0])


@pytest.mark.parametrize(("algorithm", "vocab_size"), [("bpe", 360), ("unigram", 320), ("char", 300)])
def test_learning_twice_gives_the_same_bytes(algorithm: str, vocab_size: int, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        train(iter(SENTENCES * 5), algorithm=algorithm, vocab_size=vocab_size).save(tmp_path / name)
    assert (tmp_path / "a/tokenizer.model").read_bytes() == (tmp_path / "b/tokenizer.model").read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "a/tokenizer.model").read_bytes()


@pytest.mark.parametrize("algorithm", ["bpe", "unigram", "char"])
def test_a_vocabulary_larger_than_the_text_supports_is_refused_with_the_size_that_it_does(algorithm: str) -> None:
    with pytest.raises(Refusal, match=r"tokenizer\.vocab_size: 100,000 is more than .* at most ([\d,]+)") as refused:
        train(SENTENCES, algorithm=algorithm, vocab_size=100_000)
    supported = int(str(refused.value).partition("at most ")[2].split(" ")[0].strip(",").replace(",", ""))
    assert train(SENTENCES, algorithm=algorithm, vocab_size=supported).vocab_size == supported
    with pytest.raises(Refusal):
        train(SENTENCES, algorithm=algorithm, vocab_size=supported + 1)


def test_a_vocabulary_too_small_for_the_letters_is_refused() -> None:
    with pytest.raises(Refusal, match=r"tokenizer\.vocab_size: 100 is too small: .* needs \d+ at least"):
        train(SENTENCES, algorithm="bpe", vocab_size=100)


def test_bytes_have_one_size() -> None:
    with pytest.raises(Refusal, match=r"4,096 does not go with algorithm byte, .*: write 261"):
        train((), algorithm="byte", vocab_size=4096)


def test_a_damaged_model_is_named(tmp_path: Path, pieces: Tokenizer) -> None:
    pieces.save(tmp_path)
    path = tmp_path / "tokenizer.model"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Refusal, match=r"tokenizer\.model: "):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(Refusal, match=r"tokenizer\.json: is not a tokenizer's description"):
        Tokenizer.load(tmp_path)


def test_no_more_is_learnt_from_than_allowed_and_not_from_the_head_alone() -> None:
    texts = [f"{number:05d} " + "words " * 40 for number in range(2000)]
    total_bytes = sum(map(len, texts))
    drawn = list(sentences(iter(texts), total_bytes=total_bytes, limit_bytes=total_bytes // 10))
    assert 0.8 * total_bytes / 10 < sum(map(len, drawn)) <= total_bytes // 10
    assert max(int(text[:5]) for text in drawn) > 1800
    assert drawn == list(sentences(iter(texts), total_bytes=total_bytes, limit_bytes=total_bytes // 10))


@given(st.lists(st.text(alphabet="ab \n", max_size=30)).map("".join))
def test_a_long_document_is_learnt_from_to_its_end(text: str) -> None:
    text = (text + "\nend") * 500
    found = list(sentences([text], total_bytes=len(text), limit_bytes=len(text)))
    assert "".join(found) == text
    assert all(len(part) <= 4000 for part in found)
