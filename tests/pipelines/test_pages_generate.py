"""Text from a checkpoint: continued, asked, piped; the same seed says the same."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lmmodel.architecture.model import build
from lmmodel.learning import checkpoint
from lmmodel.text.tokenizer import Tokenizer, train
from pipelines import cli
from pipelines.pages import design
from tests.pipelines.a_project import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model that reads bytes."""
    root = tmp_path_factory.mktemp("checkpoint")
    tokenizer = train([], algorithm="byte", vocab_size=261)
    (root / "tokenizer").mkdir()
    tokenizer.save(root / "tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        text = (ROOT / "tests" / "tiny.yaml").read_text().replace("320", "261").replace("bpe", "byte")
        (root / "params.yaml").write_text(text)
        declaration = design.chosen(None, published_size=False).declaration
    assert isinstance(tokenizer, Tokenizer)
    checkpoint.save(root / "model", model=build(declaration, seed=1), tokenizer=root / "tokenizer", facts={})
    return root / "model"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    cli.main(["generate", *words, "--device", "cpu"])
    return capsys.readouterr().out


def test_a_prompt_is_continued_and_the_same_seed_says_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (str(folder), "--prompt", "Return", "--tokens", "20")
    first = said(capsys, *words, "--seed", "3")
    assert first.startswith("Return")
    assert len(first) > len("Return\n")
    assert said(capsys, *words, "--seed", "3") == first
    assert said(capsys, *words, "--seed", "4") != first


def test_questions_are_answered_line_by_line_from_a_pipe(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("What is a list?\n\nAnd a set?\n"))
    answers = said(capsys, str(folder), "--chat", "--tokens", "5", "--temperature", "0")
    one = said(capsys, str(folder), "--chat", "--tokens", "5", "--temperature", "0", "--prompt", "What is a list?")
    assert answers.startswith(one)
    assert len(answers) > len(one)


def test_letters_of_several_bytes_are_never_cut(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = said(capsys, str(folder), "--prompt", "é", "--tokens", "60", "--seed", "1")
    assert whole.encode()  # surrogates, which a cut letter would be, cannot be encoded
    assert whole.endswith("\n")
