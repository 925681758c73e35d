"""What fine-tuning would refuse is refused before the pretraining that it comes after."""

from __future__ import annotations

from typing import Any

import pytest

from lmmodel.params.document import Document
from lmmodel.params.document import parse as parsed
from lmmodel.params.refusal import Refusal
from pipelines import design, parameters, pretrain
from tests.project import TREE

TEXT = (TREE / "params.yaml").read_text(encoding="utf-8")


def changed(**sections: dict[str, Any]) -> Document:
    """The default parameters with some sections told otherwise."""
    document = parsed(TEXT, name="params.yaml")
    told = {name: {**document.data[name], **section} for name, section in sections.items()}
    return Document(document.name, {**document.data, **told}, document.lines)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"kind": "lora", "matrices": ["qeury"]}, "finetune.method.matrices 'qeury' is not one of .* did you mean"),
        ({"kind": "lora", "parts": []}, "finetune.method.parts: nothing holds no linear"),
    ],
)
def test_design_refuses_a_method_that_finds_nothing_to_teach(method: Any, said: str) -> None:
    with pytest.raises(Refusal, match=f"params.yaml: {said}"):
        design.teachable(parameters.check(changed(finetune={"method": method})))


@pytest.mark.parametrize("method", ["full", "none", {"kind": "lora", "matrices": ["query"]}])
def test_design_takes_one_that_finds_something_or_need_not_look(method: Any) -> None:
    design.teachable(parameters.check(changed(finetune={"method": method})))


def test_a_fine_tuning_that_is_skipped_has_no_batches_that_could_fit() -> None:
    odd = {"batch_tokens": 2000}
    with pytest.raises(Refusal, match=r"finetune\.batch_tokens 2,000 is not a whole number of sequences"):
        parameters.check(changed(finetune=odd))
    parameters.check(changed(finetune={**odd, "method": "none"}))


@pytest.mark.parametrize(
    ("finetune", "launch", "said"),
    [
        ({"precision": "float8"}, {}, "params.yaml: finetune.precision 'float8' takes a GPU"),
        ({}, {"processes": 16}, "16 processes share a batch of 8 sequences, and some would have none"),
        ({}, {"processes": 3, "shard": True}, "3 processes share a batch of 8 sequences, and with launch.shard"),
        ({"precision": "autocast"}, {"processes": 2, "shard": True}, "launch.shard does not go with precision"),
    ],
)
def test_pretrain_asks_before_all_else_whether_the_machine_could_finetune(
    finetune: dict[str, Any], launch: dict[str, Any], said: str
) -> None:
    def asked(method: str) -> None:
        told = {"batch_tokens": 8 * 256, **finetune, "method": method}
        pretrain.foresee(parameters.check(changed(finetune=told, launch={"device": "cpu", **launch})))

    with pytest.raises(Refusal, match=f"pretrain: finetune comes next: {said}"):
        asked("full")
    asked("none")
