import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import lmmodel
from lmmodel import folder as sealed
from lmmodel.learning import checkpoint
from lmmodel.params.refusal import Refusal
from lmmodel.text.tokenizer import train
from tests.learning import small

KIND = "experiments/forward.py"
SOURCE = '''"""A feed-forward of one's own."""

from torch import nn

from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose."""


class FeedForward(nn.Module):
    def __init__(self, options, sizes):
        super().__init__()
        self.up = nn.Linear(sizes.width, sizes.width)

    def forward(self, x_BTD, span):
        return self.up(x_BTD)
'''


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    made = tmp_path / "tokenizer"
    made.mkdir()
    train([], algorithm="byte", vocab_size=261).save(made)
    return made


@pytest.fixture
def saved(tmp_path: Path, tokenizer: Path) -> Path:
    checkpoint.save(tmp_path / "saved", model=small.model(seed=3), tokenizer=tokenizer, facts={"step": 8})
    return tmp_path / "saved"


@pytest.mark.parametrize("told", [{}, {"embedding": {"tied": False}}, {"head": {"ahead": 1}, "norm": "layer"}])
def test_what_is_loaded_computes_what_was_saved(tmp_path: Path, tokenizer: Path, told: dict) -> None:
    model = small.model(seed=5, **told)
    checkpoint.save(tmp_path / "saved", model=model, tokenizer=tokenizer, facts={})
    loaded, words = lmmodel.load(tmp_path / "saved")
    tokens = torch.arange(10)[None]
    assert torch.equal(loaded(tokens), model(tokens))
    assert all(torch.equal(value, dict(model.named_parameters())[name]) for name, value in loaded.named_parameters())
    assert words.decode(words.encode("naïve")) == "naïve"
    assert not loaded.training


def test_a_tied_table_is_kept_once(saved: Path) -> None:
    assert "embedding.weight" in load_file(saved / "model.safetensors")
    assert "head.weight" not in load_file(saved / "model.safetensors")


def test_the_same_model_is_the_same_bytes(tmp_path: Path, tokenizer: Path, saved: Path) -> None:
    checkpoint.save(tmp_path / "again", model=small.model(seed=3), tokenizer=tokenizer, facts={"step": 8})
    assert (tmp_path / "again" / "index.json").read_bytes() == (saved / "index.json").read_bytes()


def test_it_says_what_made_it(saved: Path) -> None:
    assert checkpoint.facts(saved) == {"format": checkpoint.FORMAT, "step": 8}


@pytest.mark.parametrize(
    "name", ["model.safetensors", "declaration.json", "checkpoint.json", "tokenizer/tokenizer.json"]
)
def test_a_file_that_was_cut_off_or_changed_or_lost_is_named(saved: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes(whole[:-1])
    with pytest.raises(Refusal, match=rf"{name}: has [\d,]+ bytes instead of"):
        checkpoint.load(saved)
    (saved / name).write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
    with pytest.raises(Refusal, match=rf"{name}: its content"):
        checkpoint.load(saved)
    (saved / name).unlink()
    with pytest.raises(Refusal, match=rf"{name}: is missing"):
        checkpoint.load(saved)


def change(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors")
    sealed.seal(folder, {"format": checkpoint.FORMAT})


def test_weights_that_do_not_fit_the_declaration_are_named(saved: Path) -> None:
    whole = load_file(saved / "model.safetensors")
    change(saved, {name: tensor for name, tensor in whole.items() if name != "norm.weight"})
    with pytest.raises(Refusal, match=r"model.safetensors: has no norm\.weight"):
        checkpoint.load(saved)
    change(saved, {**whole, "stranger": torch.zeros(1)})
    with pytest.raises(Refusal, match="holds stranger"):
        checkpoint.load(saved)
    change(saved, {**whole, "norm.weight": torch.zeros(3)})
    with pytest.raises(Refusal, match=r"norm\.weight is \(3,\), and its declaration makes it \(16,\)"):
        checkpoint.load(saved)
    (saved / "model.safetensors").write_bytes(b"\x80\x04pickled")
    sealed.seal(saved, {})
    with pytest.raises(Refusal, match=r"model\.safetensors: cannot be read"):
        checkpoint.load(saved)


def test_a_later_format_is_refused(saved: Path) -> None:
    (saved / "checkpoint.json").write_text(json.dumps({"format": 99}))
    sealed.seal(saved, {})
    with pytest.raises(Refusal, match="has format 99, and this lmmodel reads up to 1"):
        checkpoint.load(saved)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"index\.json: is missing"):
        checkpoint.load(tmp_path)


def test_code_of_ones_own_travels_along_and_runs_only_when_it_is_named(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("experiments").mkdir()
    Path(KIND).write_text(SOURCE, encoding="utf-8")
    model = small.model(feed_forward={"kind": KIND})
    checkpoint.save(tmp_path / "saved", model=model, tokenizer=tokenizer, facts={})
    assert checkpoint.own_kinds(tmp_path / "saved") == (KIND,)

    with pytest.raises(Refusal, match=rf"'{KIND}' is code outside the package.*code="):
        checkpoint.load(tmp_path / "saved")
    with pytest.raises(Refusal, match="is code outside"):
        checkpoint.load(tmp_path / "saved", code=["experiments/other.py", "my_experiments/forward.py"])
    tokens = torch.arange(10)[None]
    assert torch.equal(checkpoint.load(tmp_path / "saved", code=[KIND])[0](tokens), model(tokens))

    shutil.rmtree("experiments")
    beside = tmp_path / "saved" / checkpoint.KINDS / KIND
    assert torch.equal(checkpoint.load(tmp_path / "saved", code=[beside])[0](tokens), model(tokens))


def test_buffers_are_kept_and_come_back(tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small.model()
    model.register_buffer("load_E", torch.arange(3.0))
    checkpoint.save(tmp_path / "saved", model=model, tokenizer=tokenizer, facts={})
    assert torch.equal(load_file(tmp_path / "saved" / "model.safetensors")["load_E"], torch.arange(3.0))
