"""A transformers folder beside our models, through lm-eval's own HFLM."""

from __future__ import annotations

import copy

import pytest

from lmmodel.inference import references
from lmmodel.inference.evaluation import Court
from lmmodel.inference.huggingface import writer
from lmmodel.inference.settings import Evaluate, Samples
from lmmodel.learning import checkpoint
from lmmodel.params.refusal import Refusal
from tests.inference.conftest import FACTS
from tests.inference.small import model, tokenizer

TASKS = ("documents_bits_per_byte",)
CONTEXT = 512
"""Longer than any text."""


@pytest.fixture(scope="module", autouse=True)
def offline():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def summary(ground, tmp_path_factory):
    """A model, once as ours and once as transformers reads what was exported of it."""
    place = tmp_path_factory.mktemp("references")
    trained = copy.deepcopy(model(vocabulary=tokenizer("bpe").vocab_size, context=CONTEXT)).float()
    checkpoint.save(place / "ours", model=trained, tokenizer=ground.pretrain / "tokenizer", facts=FACTS)
    writer.send(place / "ours", place / "exported")
    section = Evaluate(
        examples_per_task=4, tasks=TASKS, references=(str(place / "exported"),), samples=Samples(prompts=())
    )
    court = Court(section, ground.corpus, ground.dialogues, place / "ours", None, "cpu", 3)
    return court.judge(place / "judged")


def test_a_reference_stands_beside_our_models_under_its_folders_name(summary):
    assert [row.name for row in summary.rows][:4] == ["pretrain", "untrained", "exported", "chance"]


def test_an_exported_model_is_scored_as_it_is_here_whatever_its_tokenizer_adds(summary):
    rows = {row.name: row.scores for row in summary.rows}
    (key,) = rows["pretrain"].keys() & rows["exported"].keys()
    ours, theirs = (rows[name][key].value for name in ("pretrain", "exported"))
    assert theirs == pytest.approx(ours, rel=1e-5)


def test_a_folder_that_is_none_is_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refusal, match="evaluate.references: '.*empty' cannot be loaded"):
        references.load(str(tmp_path / "empty"), device="cpu")
