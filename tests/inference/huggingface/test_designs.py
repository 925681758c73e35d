"""The shipped designs are what transformers computes: logits, generated text, and both ways between the folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from lmmodel.architecture.resolve import designs
from lmmodel.inference.generation import generate
from lmmodel.inference.huggingface import reader, writer
from lmmodel.inference.huggingface.assembly import essence
from lmmodel.learning import checkpoint
from tests.inference.huggingface.theirs import SMALL, VOCABULARY, declared, of_design

NOT_THEIRS = {"transformer2017"}
"""transformers has no decoder alone with sinusoidal positions."""


def test_every_design_but_those_that_transformers_lacks_is_here():
    assert set(designs()) == SMALL.keys() | NOT_THEIRS


@pytest.mark.parametrize("design", SMALL)
def test_a_design_is_what_transformers_computes(design, tmp_path):
    theirs = of_design(tmp_path / "theirs", design)
    found = reader.read(tmp_path / "theirs")
    assert essence(found.model.declaration) == essence(declared(design))
    assert found.left_out == []
    same_logits(found.model, theirs)
    same_text(found.model, theirs)
    same_folder(found, tmp_path)


def same_logits(model, theirs):
    tokens_BT = torch.randint(VOCABULARY, (2, 60), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected, found = theirs(tokens_BT).logits, model(tokens_BT)
    assert (found - expected).norm() / expected.norm() < 1e-5


def same_text(model, theirs):
    prompts, tokens = [[3, 1, 4, 1, 5, 9, 2, last] for last in (6, 53, 58)], 24
    settings = transformers.GenerationConfig(do_sample=False, max_new_tokens=tokens, use_cache=True, pad_token_id=0)
    with torch.inference_mode():
        said = theirs.generate(torch.tensor(prompts), generation_config=settings)[:, len(prompts[0]) :].tolist()
    assert generate(model, prompts, tokens=tokens) == said
    assert len({token for row in said for token in row}) > 2


def same_folder(found: reader.Found, place: Path) -> None:
    values, declaration = checkpoint.values(found.model), found.model.declaration
    writer.write(place / "ours", values=values, declaration=declaration, facts=found.facts)
    written, given = (load_file(place / name / "model.safetensors") for name in ("ours", "theirs"))
    assert written.keys() == given.keys()
    for name, tensor in given.items():
        assert written[name].dtype == tensor.dtype
        assert torch.equal(written[name], tensor), name
    assert settings_of(place / "ours") == settings_of(place / "theirs")


def settings_of(folder: Path) -> dict:
    return {
        key: value
        for key, value in transformers.AutoConfig.from_pretrained(folder).to_dict().items()
        if key not in ("_name_or_path", "transformers_version")
    }
