"""The page of a trial: what it needs, what it says, and that it writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lmmodel import folder as folders
from lmmodel.architecture import count
from lmmodel.learning.trial import Moment
from lmmodel.params.refusal import Refusal
from lmmodel.text import shards, tokenizer
from pipelines import cli
from pipelines.pages import design, trial
from tests.pipelines.a_project import ROOT

TINY = ROOT / "tests" / "tiny.yaml"
TEXTS = {"train": ["One row follows another, and so on. "] * 400, "validation": ["Another row follows. "] * 200}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny parameters over bytes, with shards and a tokenizer, as the stages would have left them."""
    told = TINY.read_text().replace("vocab_size: 320", "vocab_size: 261").replace("algorithm: bpe", "algorithm: byte")
    (tmp_path / "params.yaml").write_text(told)
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (tmp_path / "experiments").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    words = tokenizer.train([], algorithm="byte", vocab_size=261)
    for name in ("shards", "tokenizer"):
        Path("data", name).mkdir(parents=True)
    words.save(Path("data/tokenizer"))
    counted = {}
    for split, texts in TEXTS.items():
        *_, counted[split] = shards.write(
            Path("data/shards"), split, texts, tokenizer=words, tokens_per_shard=9000, workers=1
        )
    folders.seal(Path("data/shards"), shards.index(counted, tokenizer=words))
    return tmp_path


def files(project: Path) -> set[Path]:
    return {path for path in project.rglob("*") if path.is_file()}


def test_two_designs_are_compared_and_nothing_is_written(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(project)
    cli.main(["trial", ".", "gpt2", "--seconds", "0.4", "--seed", "3"])
    page = capsys.readouterr().out
    assert page.startswith("params.yaml against gpt2, seed 3, ")
    for said in (
        "after equal tokens",
        "after equal seconds",
        "bits per byte",
        "held-out rows",
        "o params.yaml   x gpt2",
        "nats a token, by tokens spent",
        "nats a token, by seconds spent",
        "Differences are gpt2 less params.yaml, and fewer bits are better",
    ):
        assert said in page
    assert max(map(len, page.splitlines())) <= 100
    counts = [count.measure(design.chosen(name, published_size=False).declaration) for name in (None, "gpt2")]
    one, other = (side.parameters for side in counts)
    assert f"{one:,} {other:,} {other - one:+,}" in " ".join(page.split())
    assert files(project) == before


def test_a_design_against_itself_cannot_be_told_apart(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["trial", ".", "params.yaml", "--seconds", "0.2", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert list(data["curves"]) == ["params.yaml", "params.yaml again"]
    one, other = (data["curves"][name]["losses_nats"] for name in data["curves"])
    shared = min(len(one), len(other))
    assert one[:shared] == other[:shared]
    equal = data["after"]["equal_tokens"]
    assert (equal["difference"], equal["interval_95"]) == (0.0, [0.0, 0.0])
    assert equal["steps"][0] == equal["steps"][1]


@pytest.mark.parametrize("missing", ["shards", "tokenizer"])
def test_without_data_the_command_that_makes_it_is_told(project: Path, missing: str) -> None:
    for path in Path("data", missing).iterdir():
        path.unlink()
    with pytest.raises(Refusal, match=f"`dvc repro {missing}` makes it"):
        trial.show(_told(".", "gpt2"))


def test_another_vocabulary_or_context_is_refused(project: Path) -> None:
    Path("experiments/longer.yaml").write_text("model: {width: 32, depth: 2, heads: 2, context: 64}\n")
    with pytest.raises(Refusal, match="differ in context, 32 and 64"):
        trial.show(_told(".", "experiments/longer.yaml"))
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("261", "320").replace("algorithm: byte", "algorithm: bpe"))
    with pytest.raises(Refusal, match="has a vocabulary of 261"):
        trial.show(_told(".", "gpt2"))


def test_a_seed_that_torch_would_not_take_is_refused(project: Path) -> None:
    with pytest.raises(Refusal, match="--seed should be from 0 to 18,446,744,073,709,551,615"):
        trial.show(_told(".", "gpt2", "--seed", str(2**64)))


def _told(*words: str):  # type: ignore[no-untyped-def]
    import argparse

    parser = argparse.ArgumentParser()
    trial.arguments(parser)
    return parser.parse_args([*words, "--seconds", "0.1"])


def test_the_interval_is_of_the_paired_difference() -> None:
    draw = np.random.default_rng(0)
    hard, bytes_R = draw.normal(500, 100, 200), np.full(200, 300.0)
    pair = (hard, hard + draw.normal(3, 5, 200))
    found = trial.difference(Moment("tokens", pair, (1, 1), (1.0, 1.0)), bytes_R)
    apart = pair[1] - pair[0]
    assert found.difference == pytest.approx(apart.mean() / 300 / np.log(2))
    assert found.half_width == pytest.approx(1.96 * apart.std(ddof=1) / 200**0.5 / 300 / np.log(2), rel=1e-3)
    assert found.verdict == 1
    assert trial.Difference((1.0, 1.0), -0.1, 0.2).verdict == 0
    assert trial.Difference((1.0, 0.7), -0.3, 0.2).verdict == -1
