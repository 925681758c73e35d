"""Several sources with weights: from the list in params.yaml to the rows of a batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.params.refusal import Refusal
from lmmodel.text import settings
from lmmodel.text.batches import PretrainBatches
from lmmodel.text.documents import read
from lmmodel.text.order import TURNS, Turns
from lmmodel.text.shards import Shards, Split
from lmmodel.text.tokenizer import Tokenizer
from tests.text import tables
from tests.text.test_stages import digests, made

some_weights = st.lists(st.floats(0.01, 100), min_size=1, max_size=6).map(tuple)


@given(weights=some_weights, seed=st.integers(0, 5), rounds=st.integers(1, 3))
def test_every_round_shares_out_by_the_weights_and_counts_each_source(weights, seed: int, rounds: int) -> None:
    turns = Turns(weights, seed=seed)
    size = int(turns.shares.sum())
    sources, numbers = turns.of(np.arange(rounds * size))
    for source, weight in enumerate(weights):
        share = np.mean(sources[:size] == source)
        assert abs(share - weight / sum(weights)) <= (len(weights) + 1) / TURNS
        assert sorted(numbers[sources == source]) == list(range(rounds * int(turns.shares[source])))


@given(places=st.lists(st.integers(0, 10**9), min_size=1, max_size=20), seed=st.integers(0, 5))
def test_a_turn_depends_on_its_place_alone(places: list[int], seed: int) -> None:
    turns = Turns((3.0, 1.0, 0.5), seed=seed)
    together = turns.of(np.array(places))
    apart = [turns.of(np.array([place])) for place in places]
    assert [list(part) for part in together] == [[int(one[n][0]) for one in apart] for n in range(2)]


def mixed(tokens: tuple[int, ...], weights: tuple[float, ...]) -> Shards:
    """Source n holds the tokens 1000 n + 1, 1000 n + 2, ..."""
    stream = np.concatenate([np.arange(1, count + 1) + 1000 * n for n, count in enumerate(tokens)]).astype(np.uint16)
    cuts = np.array_split(stream, 3)
    train = Split(cuts, documents=len(tokens), bytes=len(stream))
    held_out = Split([np.arange(50, dtype=np.uint16)], documents=1, bytes=50)
    return Shards(
        vocab_size=60_000, begin=0, splits={"train": train, "validation": held_out}, weights=weights, tokens=tokens
    )


@pytest.mark.parametrize("seed", range(3))
def test_each_source_goes_through_epochs_of_its_own(seed: int) -> None:
    counts, weights, context = (97, 33, 64), (2.0, 1.0, 1.0), 8
    batches = PretrainBatches(mixed(counts, weights), context=context, sequences=16, seed=seed)
    targets: list[list[int]] = [[], [], []]
    for step in range(2 * TURNS // 16):
        batch = batches.batch(step)
        weights_BT = np.ones(batch.targets_BT.shape) if batch.weights_BT is None else batch.weights_BT
        for row, counted in zip(batch.targets_BT, weights_BT, strict=True):
            source = int(row[0]) // 1000
            assert set(row // 1000) == {source}
            targets[source] += row[counted > 0].tolist()
    rows = [len(some) / context for some in targets]
    assert np.allclose(np.array(rows) / sum(rows), [0.5, 0.25, 0.25], atol=0.05)
    for source, (count, some) in enumerate(zip(counts, targets, strict=True)):
        times = np.bincount(np.array(some) - 1000 * source, minlength=count + 1)[2:]  # all but the first is a target
        assert times.max() - times.min() <= 1
        assert len(times) == count - 1


def test_batches_of_a_mixture_depend_on_seed_and_step_and_are_shared_out_in_rows() -> None:
    shards = mixed((500, 300), (1.0, 1.0))

    def drawn(seed: int) -> PretrainBatches:
        return PretrainBatches(shards, context=8, sequences=6, seed=seed)

    late = drawn(1).batch(1000)
    assert np.array_equal(drawn(1).batch(1000).tokens_BT, late.tokens_BT)
    assert not np.array_equal(drawn(2).batch(1000).tokens_BT, late.tokens_BT)
    halves = [drawn(1).batch(1000, rows=rows).tokens_BT for rows in (slice(0, 3), slice(3, 6))]
    assert np.array_equal(np.concatenate(halves), late.tokens_BT)
    assert drawn(1).tokens_per_epoch == (63 + 38) * 8


def test_a_source_with_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(Refusal, match=r"corpus\.source\.1: nothing of it is in the train split"):
        PretrainBatches(mixed((50, 0, 20), (1.0, 1.0, 1.0)), context=8, sequences=2, seed=0)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files, which share every tenth text."""
    monkeypatch.chdir(tmp_path)
    words = ["Return", "the", "number", "of", "items", "in", "a", "container", "file", "path", "or", "None"]
    for name, shift in (("one", 0), ("two", 7)):
        texts = [
            " ".join(words[(number * k + (shift if number % 10 else 0)) % 12] for k in range(1, 40)) + f" {number}"
            for number in range(200)
        ]
        tables.lines(tmp_path / f"data/raw/documents/{name}.jsonl", [{"text": text} for text in texts])
    return tmp_path


def sections(*, weight: float) -> dict:
    sources = [{"kind": "files", "paths": [f"data/raw/documents/{name}.jsonl"]} for name in ("one", "two")]
    mixture = settings.Corpus.model_validate({"source": [sources[0], {**sources[1], "weight": weight}]})
    return {
        "corpus": mixture,
        "tokenizer": settings.Tokenizer(vocab_size=340),
        "shards": settings.Shards(tokens_per_shard=1000),
    }


def test_through_the_stages_texts_are_split_and_freed_of_duplicates_over_all(project: Path) -> None:
    metrics = made(project, sections(weight=2))
    assert metrics["corpus"]["duplicates_removed"] == 20
    assert sum(sum(metrics["corpus"][side]["sources"]) for side in ("train", "validation")) == 380
    opened, tokenizer = Shards.open(project / "shards/output"), Tokenizer.load(project / "tokenizer/output")
    texts = [one.text for one in read(project / "corpus/output", "train")]
    first, second = metrics["corpus"]["train"]["sources"]
    parts = opened.sources()
    assert [weight for weight, _ in parts] == [1.0, 2.0]
    for (_, tokens), some in zip(parts, (texts[:first], texts[first:]), strict=True):
        assert tokens[0 : len(tokens)].tolist() == [
            index for text in some for index in [tokenizer.begin, *tokenizer.encode(text)]
        ]
    assert len(texts) == first + second


def test_a_weight_touches_neither_documents_nor_tokens(project: Path) -> None:
    for name, weight in (("one", 1.0), ("other", 5.0)):
        made(project / name, sections(weight=weight))
    one, other = digests(project / "one"), digests(project / "other")
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {"corpus/output/index.json", "shards/output/index.json"}
    told = json.loads((project / "other/shards/output/index.json").read_text())
    assert told["mixture"]["weights"] == [1.0, 5.0]
