from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.params.refusal import Refusal
from lmmodel.text.batches import DialogueBatches, PretrainBatches
from lmmodel.text.dialogues import Dialogue, Message, tokens
from lmmodel.text.shards import Shards, Split
from lmmodel.text.tokenizer import Tokenizer

BEGIN = 1


def shards_of(train: int, validation: int = 50, *, parts: int = 3) -> Shards:
    """Tokens that count up from 2, a document beginning at every tenth."""
    splits = {}
    for name, size in (("train", train), ("validation", validation)):
        stream = np.arange(2, size + 2, dtype=np.uint16)
        stream[::10] = BEGIN
        splits[name] = Split(np.array_split(stream, parts), documents=size // 10, bytes=size)
    return Shards(vocab_size=1000, begin=BEGIN, splits=splits)


@given(st.integers(2, 400), st.integers(1, 40), st.integers(1, 7), st.integers(0, 9))
def test_an_epoch_holds_every_target_once(train: int, context: int, sequences: int, seed: int) -> None:
    batches = PretrainBatches(shards_of(train), context=context, sequences=sequences, seed=seed)
    windows = batches.tokens_per_epoch // context
    seen = []
    for place in range(windows):
        step, row = divmod(place, sequences)
        batch = batches.batch(step, rows=slice(row, row + 1))
        counts = np.ones_like(batch.targets_BT) if batch.weights_BT is None else batch.weights_BT
        seen += batch.targets_BT[counts == 1].tolist()
    stream = shards_of(train).split("train")[:]
    assert sorted(seen) == sorted(stream[1:].tolist())


def test_targets_are_the_tokens_that_follow() -> None:
    batch = PretrainBatches(shards_of(300), context=16, sequences=4, seed=1).batch(3)
    assert batch.tokens_BT.shape == batch.targets_BT.shape == (4, 16)
    assert batch.tokens_BT.dtype == batch.targets_BT.dtype == np.int64
    assert (batch.tokens_BT[:, 1:] == batch.targets_BT[:, :-1]).all()
    assert batch.documents_BT is None


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    first, second = (PretrainBatches(shards_of(3000), context=8, sequences=4, seed=5) for _ in range(2))
    for _ in range(3):
        second.batch(1)
    assert (first.batch(40).tokens_BT == second.batch(40).tokens_BT).all()
    other = PretrainBatches(shards_of(3000), context=8, sequences=4, seed=6)
    assert (first.batch(40).tokens_BT != other.batch(40).tokens_BT).any()


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_that_share_a_batch_see_what_one_sees(processes: int) -> None:
    batches = PretrainBatches(shards_of(500), context=8, sequences=8, seed=5, separate=True)
    share = 8 // processes
    parts = [batches.batch(9, rows=slice(start, start + share)) for start in range(0, 8, share)]
    whole = batches.batch(9)
    for name in ("tokens_BT", "targets_BT", "documents_BT"):
        assert (np.concatenate([getattr(part, name) for part in parts]) == getattr(whole, name)).all()


def test_documents_are_kept_apart_on_request() -> None:
    batch = PretrainBatches(shards_of(300), context=32, sequences=4, seed=1, separate=True).batch(0)
    assert batch.documents_BT is not None
    begins = np.diff(batch.documents_BT, axis=1) == 1
    assert (begins == (batch.tokens_BT[:, 1:] == BEGIN)).all()


@pytest.mark.parametrize("size", [2, 17, 33, 50])
def test_validation_counts_every_target_once_whatever_the_seed(size: int) -> None:
    for seed in (1, 2):
        batches = PretrainBatches(shards_of(300, size), context=16, sequences=2, seed=seed)
        seen = []
        for batch in batches.validation(10_000):
            assert batch.tokens_BT.shape[1] == 16
            counts = np.ones_like(batch.targets_BT) if batch.weights_BT is None else batch.weights_BT
            seen += batch.targets_BT[counts == 1].tolist()
        assert seen == shards_of(300, size).split("validation")[1:].tolist()


def test_a_part_of_validation_is_spread_over_it() -> None:
    batches = PretrainBatches(shards_of(300, 50_000), context=10, sequences=4, seed=1)
    first = [int(row[1]) for batch in batches.validation(1000) for row in batch.tokens_BT]
    assert len(first) == 100
    assert max(first) > 49_000


def test_a_split_without_anything_to_predict_is_refused() -> None:
    with pytest.raises(Refusal, match="fewer than two tokens"):
        PretrainBatches(shards_of(300, 1), context=10, sequences=4, seed=1)


# --- dialogues


def chat(number: int, words: int) -> Dialogue:
    messages = (Message("user", f"Ask {number}?"), Message("assistant", f"answer {number} " + "so " * words))
    return Dialogue(str(number), "g", "describe", messages)


SOME = {"train": [chat(number, number % 7) for number in range(60)], "validation": [chat(900 + n, n) for n in range(9)]}


def learnt(batch, at: int) -> dict[int, list[int]]:
    """What is learnt in a row, by document."""
    found: dict[int, list[int]] = {}
    for target, document, weight in zip(
        batch.targets_BT[at], batch.documents_BT[at], batch.weights_BT[at], strict=True
    ):
        if weight:
            found.setdefault(int(document), []).append(int(target))
    return found


def test_an_epoch_of_dialogues_learns_every_answer_once_and_nothing_else(bytewise: Tokenizer) -> None:
    batches = DialogueBatches(SOME, bytewise, context=128, sequences=1, seed=3)
    rows = batches.tokens_per_epoch // 128
    answers = [ids for step in range(rows) for ids in learnt(batches.batch(step), 0).values()]
    expected = [[*bytewise.encode(one.messages[1].content), bytewise.end] for one in SOME["train"]]
    assert sorted(answers) == sorted(expected)


def test_dialogues_of_a_row_are_documents_of_their_own_and_so_is_padding(bytewise: Tokenizer) -> None:
    batch = DialogueBatches(SOME, bytewise, context=128, sequences=8, seed=3).batch(0)
    assert batch.documents_BT is not None
    assert batch.weights_BT is not None
    for row in range(8):
        begins = batch.tokens_BT[row] == bytewise.begin
        count = int(begins.sum())
        documents = batch.documents_BT[row]
        assert (np.flatnonzero(begins) == [np.flatnonzero(documents == one)[0] for one in range(count)]).all()
        assert set(documents.tolist()) <= set(range(count + 1))
        assert not batch.weights_BT[row][documents == count].any()


def test_within_a_dialogue_targets_follow_their_tokens(bytewise: Tokenizer) -> None:
    batch = DialogueBatches({"train": SOME["train"][:1], "validation": SOME["validation"]}, bytewise,
                            context=64, sequences=1, seed=1).batch(0)  # fmt: skip
    ids, learn = tokens(bytewise, SOME["train"][0].messages)
    assert batch.tokens_BT[0, : len(ids) - 1].tolist() == ids[:-1]
    assert batch.targets_BT[0, : len(ids) - 1].tolist() == ids[1:]
    assert batch.weights_BT is not None
    assert batch.weights_BT[0, : len(ids) - 1].tolist() == [float(one) for one in learn[1:]]


def test_validation_dialogues_do_not_depend_on_the_seed(bytewise: Tokenizer) -> None:
    found = []
    for seed in (1, 2):
        batches = DialogueBatches(SOME, bytewise, context=64, sequences=2, seed=seed)
        found.append(np.concatenate([batch.tokens_BT for batch in batches.validation(10_000)]).tolist())
    assert found[0] == found[1]
    both = [DialogueBatches(SOME, bytewise, context=64, sequences=2, seed=seed).batch(0) for seed in (1, 2)]
    assert (both[0].tokens_BT != both[1].tokens_BT).any()


def test_dialogues_without_room_for_an_answer_are_refused(bytewise: Tokenizer) -> None:
    mute = Dialogue("0", "g", "t", (Message("user", "Hi"),))
    with pytest.raises(Refusal, match="of 1 dialogues none has an answer within 64 tokens"):
        DialogueBatches({**SOME, "train": [mute]}, bytewise, context=64, sequences=1, seed=1)


def test_a_folder_of_dialogues_serves_as_well(bytewise: Tokenizer, tmp_path: Path) -> None:
    from lmmodel.text import dialogues

    dialogues.write(tmp_path, [(split, one) for split, some in SOME.items() for one in some])
    from_folder = DialogueBatches(tmp_path, bytewise, context=64, sequences=2, seed=1).batch(1)
    at_hand = DialogueBatches(SOME, bytewise, context=64, sequences=2, seed=1).batch(1)
    assert (from_folder.tokens_BT == at_hand.tokens_BT).all()


def test_batches_need_neither_torch_nor_datasets() -> None:
    code = "import sys, lmmodel.text.batches; assert not {'torch', 'datasets', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
