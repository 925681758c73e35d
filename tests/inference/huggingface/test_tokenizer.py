"""A checkpoint goes out as a folder that transformers reads text with as we do, and comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

import lmmodel
from lmmodel.inference.huggingface import reader, writer
from lmmodel.learning import checkpoint
from lmmodel.params.refusal import Refusal
from lmmodel.text.tokenizer import Tokenizer, train
from pipelines import cli
from tests.inference.small import model

SENTENCES = ["a foot in the game, step by step", "football  and ballgame: 1234 steps", "é é été, naïve step"] * 20
TEXTS = ("a football game", "two  spaces,\n\tlines 12345", " été 世界 €", "<|begin|>x<0x41>"[9:], "stepstepstepping")
SIZES = {"bpe": 320, "unigram": 290, "char": 288, "byte": 261}


def sent(place: Path, algorithm: str) -> Path:
    tokenizer = train(SENTENCES, algorithm=algorithm, vocab_size=SIZES[algorithm])
    (place / "tokenizer").mkdir()
    tokenizer.save(place / "tokenizer")
    built = model(vocabulary=tokenizer.vocab_size).float()
    checkpoint.save(place / "checkpoint", model=built, tokenizer=place / "tokenizer", facts={})
    writer.send(place / "checkpoint", place / "sent")
    return place / "sent"


@pytest.mark.parametrize("algorithm", SIZES)
def test_transformers_reads_text_as_we_do(algorithm, tmp_path):
    folder = sent(tmp_path, algorithm)
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.load(tmp_path / "tokenizer")
    for text in TEXTS:
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ids == ours.encode(text)
        assert theirs.decode(ids) == text
    assert theirs("a")["input_ids"] == [ours.begin, *ours.encode("a")]
    assert (theirs.bos_token_id, theirs.eos_token_id) == (ours.begin, ours.end)
    reader.bring(folder, tmp_path / "again")
    for name in ("model.safetensors", "tokenizer/tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "checkpoint" / name).read_bytes()


def test_the_commands_go_both_ways_and_the_model_speaks_the_same(tmp_path, capsys):
    sent(tmp_path, "bpe")
    again, folder = str(tmp_path / "again"), str(tmp_path / "folder")
    cli.main(["export", str(tmp_path / "checkpoint"), folder])
    assert (
        "a llama, which transformers reads as LlamaForCausalLM\n  tokenizer: bpe, 320 tokens" in capsys.readouterr().out
    )
    cli.main(["import", folder, again])
    assert "layers of width 16, context 16\n  tokenizer: bpe, 320 tokens" in capsys.readouterr().out
    said = []
    for place in (str(tmp_path / "checkpoint"), again):
        cli.main(["generate", place, "--prompt", "foot", "--tokens", "9", "--seed", "1", "--device", "cpu"])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ours, tokenizer = checkpoint.load(again)
    tokens_BT = torch.tensor([[tokenizer.begin, *tokenizer.encode("a football")]])
    assert torch.allclose(theirs(tokens_BT).logits, ours(tokens_BT), rtol=1e-4, atol=1e-4)


def test_without_a_tokenizer_it_is_said_in_one_line(tmp_path, capsys):
    folder = sent(tmp_path, "byte")
    (folder / "tokenizer_config.json").unlink()
    cli.main(["import", str(folder), str(tmp_path / "mute")])
    said = capsys.readouterr().out
    assert "tokenizer: none; token ids alone go in and out" in said
    assert f"in Python: lmmodel.load_model('{tmp_path / 'mute'}')" in said
    with pytest.raises(Refusal, match=r"mute: has no tokenizer .* lmmodel\.load_model\('.*mute'\)"):
        lmmodel.load(tmp_path / "mute")
    tokens_BT = torch.tensor([[3, 1, 4, 1, 5]])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert torch.allclose(lmmodel.load_model(tmp_path / "mute")(tokens_BT), theirs(tokens_BT).logits, atol=1e-4)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(["generate", str(tmp_path / "mute"), "--prompt", "foot"])
    told = capsys.readouterr().err
    assert "mute: has no tokenizer" in told
    assert told.count("\n") == 1
    cli.main(["export", str(tmp_path / "mute"), str(tmp_path / "out")])
    assert "tokenizer: none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("import", "nowhere", "target"), "nowhere is not a folder here; names on the hub are not looked up"),
        (("export", "nowhere", "folder"), "nowhere: holds no model (no checkpoint.json)"),
    ],
)
def test_what_is_not_there_is_refused(words, told, capsys):
    with pytest.raises(SystemExit):
        cli.main(words)
    assert told in capsys.readouterr().err
