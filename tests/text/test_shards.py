from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmodel import folder as folders
from lmmodel.params.refusal import Refusal
from lmmodel.text import shards
from lmmodel.text.shards import Shards, Split
from lmmodel.text.tokenizer import Tokenizer
from tests.text.conftest import SENTENCES

TEXTS = {"train": [f"{sentence} {number}" for number in range(50) for sentence in SENTENCES], "validation": ["é ▁", ""]}


def written(folder: Path, tokenizer: Tokenizer, *, workers: int = 1, tokens_per_shard: int = 1000) -> Path:
    folder.mkdir(exist_ok=True)
    counted = {}
    for split, texts in TEXTS.items():
        made = shards.write(
            folder, split, iter(texts), tokenizer=tokenizer, tokens_per_shard=tokens_per_shard, workers=workers
        )
        *_, counted[split] = made
    folders.seal(folder, shards.index(counted, tokenizer=tokenizer))
    return folder


def test_every_document_stands_behind_a_beginning(tmp_path: Path, pieces: Tokenizer) -> None:
    opened = Shards.open(written(tmp_path, pieces))
    expected = [index for text in TEXTS["train"] for index in [pieces.begin, *pieces.encode(text)]]
    train = opened.split("train")
    assert train[:].tolist() == expected
    assert (train.documents, train.bytes) == (200, sum(len(text) for text in TEXTS["train"]))
    assert opened.split("validation")[:].tolist()[-1] == opened.begin == pieces.begin


def test_the_bytes_do_not_depend_on_the_workers(
    tmp_path: Path, pieces: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = written(tmp_path / "one", pieces)
    monkeypatch.setattr(shards, "_BATCH_LETTERS", 300)
    many = written(tmp_path / "many", pieces, workers=4)
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in many.iterdir()
    }


def test_shards_are_as_long_as_they_were_asked_to_be(tmp_path: Path, pieces: Tokenizer) -> None:
    written(tmp_path, pieces, tokens_per_shard=700)
    lengths = [len(np.load(path)) for path in sorted(tmp_path.glob("train-*.npy"))]
    assert set(lengths[:-1]) == {700}
    assert 0 < lengths[-1] <= 700


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 30), st.integers(0, 30))
def test_a_split_reads_as_one_array(lengths: list[int], start: int, stop: int) -> None:
    whole = np.arange(sum(lengths), dtype=np.uint16)
    parts = np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []
    split = Split([part for part in parts if len(part)], documents=0, bytes=0)
    assert len(split) == len(whole)
    assert split[start:stop].tolist() == whole[start:stop].tolist()


def test_tokens_are_as_wide_as_the_vocabulary_needs() -> None:
    assert shards._width(1 << 16) is np.uint16
    assert shards._width((1 << 16) + 1) is np.uint32


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_a_shard_that_does_not_match_is_refused_by_name(tmp_path: Path, pieces: Tokenizer, damage: str) -> None:
    path = written(tmp_path, pieces) / "train-00001.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flipped" else data[:-40])
    with pytest.raises(Refusal, match=r"train-00001\.npy"):
        Shards.open(tmp_path)


def test_a_shard_of_other_numbers_is_refused(tmp_path: Path, pieces: Tokenizer) -> None:
    written(tmp_path, pieces)
    facts = folders.facts(tmp_path)
    np.save(tmp_path / "train-00000.npy", np.zeros(1000, dtype=np.float64))
    folders.seal(tmp_path, {key: value for key, value in facts.items() if key != "files"})
    with pytest.raises(Refusal, match=r"train-00000\.npy: should hold a row of uint16, not float64"):
        Shards.open(tmp_path)


def test_an_index_that_counts_other_tokens_is_refused(tmp_path: Path, pieces: Tokenizer) -> None:
    written(tmp_path, pieces)
    (tmp_path / "train-00000.npy").unlink()
    facts = folders.facts(tmp_path)
    folders.seal(tmp_path, {key: value for key, value in facts.items() if key != "files"})
    with pytest.raises(Refusal, match=r"the shards of train hold [\d,]+ tokens; index\.json says"):
        Shards.open(tmp_path)
