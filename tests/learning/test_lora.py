"""Fine-tuning by low-rank additions: what learns, what stands still, and what is left."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lmmodel
from lmmodel.architecture.kernels import Flops
from lmmodel.architecture.model import Model
from lmmodel.architecture.roles import roles
from lmmodel.learning import checkpoint, saving
from lmmodel.learning.loss import Batch, Objective
from lmmodel.learning.method.lora import LowRank, Method, Options
from lmmodel.learning.settings import Finetune, Launch
from lmmodel.params.refusal import Refusal
from lmmodel.text import dialogues
from lmmodel.text.dialogues import Dialogue, Message
from lmmodel.text.tokenizer import train
from pipelines import finetune, work
from tests.learning import small
from tests.learning.test_training import finish, same, until

TOKENS = torch.from_numpy(small.Text(3).batch(7).tokens_BT.copy())
DESIGNS: list[dict[str, Any]] = [
    {},
    {"attention": {"kind": "multi_head", "bias": True}, "norm": "layer"},
    {"attention": {"kind": "latent", "kv_rank": 4, "query_rank": 4, "rotary_width": 4}},
    {"feed_forward": {"kind": "experts", "experts": 4, "active": 2, "shared": 1}},
    {"attention": "mamba2"},
]


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


ADAMW = {"kind": "adamw", "learning_rate": 0.02}


def prepared(
    scratch: Path, design: dict[str, Any], *, precision: str = "float32", optimizer: Any = ADAMW, **options: Any
) -> Any:
    """A training of what `lora` adds to a model, the method, and the model's values before."""
    method, model = Method(Options(**options)), small.model(**design)
    before = values(model)
    method.prepare(model, seed=1)
    told = small.section(precision=precision, optimizer=optimizer)
    return small.training(scratch, model=model, told=told), method, before


@pytest.mark.parametrize("design", DESIGNS)
def test_at_first_the_model_computes_what_it_did(design: dict[str, Any]) -> None:
    model = small.model(**design)
    wanted = model(TOKENS)
    Method(Options()).prepare(model, seed=1)
    assert torch.equal(model(TOKENS), wanted)
    assert any(isinstance(module, LowRank) for module in model.modules())


@pytest.mark.parametrize("precision", ["float32", "autocast", "bfloat16"])
@pytest.mark.parametrize("design", DESIGNS)
def test_what_is_left_is_the_model_with_low_rank_additions(
    tmp_path: Path, design: dict[str, Any], precision: str
) -> None:
    training, method, before = prepared(tmp_path, design, precision=precision, rank=2, alpha=6.0)
    finish(training)
    model = training.model
    added = {name: module for name, module in model.named_modules() if isinstance(module, LowRank)}
    expected = {name: 3.0 * module.up_FR.detach() @ module.down_RD.detach() for name, module in added.items()}
    adapted = model(TOKENS)
    method.finish(model)
    after = values(model)
    assert after.keys() == before.keys()
    assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in model.parameters())
    for name, value in after.items():
        of = name.removesuffix(".weight")
        if of in expected:
            assert torch.allclose(value - before[name], expected[of], atol=1e-5), name
            assert torch.linalg.matrix_rank((value - before[name]).double(), atol=1e-5) <= 2
        elif not name.endswith("bias_E"):
            assert torch.equal(value, before[name]), name
    assert max(float((after[f"{name}.weight"] - before[f"{name}.weight"]).abs().max()) for name in expected) > 1e-3
    assert torch.allclose(model(TOKENS), adapted, atol=1e-4)


def test_only_what_is_added_learns_and_is_saved_and_each_once(tmp_path: Path) -> None:
    training, _, _ = prepared(tmp_path, {}, rank=2)
    names = set(training.weights.masters)
    assert names == {n for n, p in training.model.named_parameters() if n.endswith(("down_RD", "up_FR"))}
    by_name = roles(training.model)
    assert {by_name[name] for name in names} == {"matrix"}
    finish(training)
    tensors, _ = saving.latest(tmp_path)
    assert {n.removeprefix("weights/") for n in tensors if n.startswith("weights/")} == names


SOAP = {"kind": "soap", "basis_steps": 2}
"""Whose bases are narrow here: products of narrow matrices round as they lie in memory."""


@pytest.mark.parametrize(("precision", "optimizer"), [("float32", ADAMW), ("bfloat16", ADAMW), ("float32", SOAP)])
def test_stopped_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path, precision: str, optimizer: Any) -> None:
    def ended(name: str, *, at: int | None = None) -> dict[str, torch.Tensor]:
        training, method, _ = prepared(tmp_path / name, {}, precision=precision, optimizer=optimizer)
        if at is not None:
            training.save_seconds = 0
            until(training, at)
            return {}
        finish(training)
        method.finish(training.model)
        return values(training.model)

    wanted = ended("unbroken")
    ended("broken", at=3)
    ended("broken", at=6)
    assert same(ended("broken"), wanted)


def test_named_matrices_alone_are_added_to() -> None:
    model = small.model()
    Method(Options(matrices=("query", "value"))).prepare(model, seed=1)
    found = {name for name, module in model.named_modules() if isinstance(module, LowRank)}
    assert found == {f"layers.{layer}.attention.{name}" for layer in (0, 1) for name in ("query", "value")}


def test_first_values_follow_from_seed_and_name() -> None:
    def drawn(seed: int, **options: Any) -> torch.Tensor:
        model = small.model()
        Method(Options(**options)).prepare(model, seed=seed)
        return model.layers[1].attention.query.down_RD

    assert torch.equal(drawn(1), drawn(1, matrices=("query",)))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"matrices": ("qury",)}, r"finetune\.method\.matrices 'qury' is not one of .*query"),
        ({"parts": ()}, r"finetune\.method\.parts: nothing holds no linear"),
    ],
)
def test_nothing_to_add_to_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        Method(Options(**options)).prepare(small.model(), seed=1)


def spent(model: Model, **options: Any) -> float:
    """Floating-point operations of a token's way through `model` and back, counted one by one."""
    taught, context = copy.deepcopy(model), model.declaration.context
    Method(Options(**options)).prepare(taught, seed=1)
    tokens_BT = torch.zeros(1, context, dtype=torch.int64)
    with Flops() as counted:
        Objective(taught)(Batch(tokens_BT, tokens_BT, None, torch.ones(1, context))).total.backward()
    return counted.total / context


def test_the_stage_leaves_a_checkpoint_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMMODEL_TRACKING", "off")
    (words := tmp_path / "tokenizer").mkdir()
    tokenizer = train([], algorithm="byte", vocab_size=261)
    tokenizer.save(words)
    told = {"model": {"width": 16, "depth": 2, "heads": 2, "context": 64, "design": {}}}
    pretrained = small.build(small.resolve(small.Document("small", told, {}), vocab_size=261), seed=0)
    checkpoint.save(tmp_path / "pretrain", model=pretrained, tokenizer=words, facts={})
    (asked := tmp_path / "dialogues").mkdir()
    some = [
        (side, Dialogue(f"{side} {n}", str(n), "dialogue", (Message("user", f"{n}?"), Message("assistant", f"{n}!"))))
        for side, numbers in (("train", range(40)), ("validation", range(40, 50)))
        for n in numbers
    ]
    lmmodel.folder.seal(asked, dialogues.write(asked, some))
    section = Finetune.model_validate(
        {
            "method": {"kind": "lora", "rank": 2, "parts": ["attention"]},
            "budget": {"flops": 5.5 * 128 * (each := spent(pretrained, rank=2, parts=("attention",)))},
            "batch_tokens": 128,
            "precision": "float32",
            "validate": {"times": 1, "tokens": 64},
        }
    )
    for name in ("output", "scratch"):
        (tmp_path / name).mkdir()
    inputs = {"pretrain": tmp_path / "pretrain", "dialogues": asked}
    places = {"output": tmp_path / "output", "scratch": tmp_path / "scratch", "curve": tmp_path / "curve.csv"}
    launch = Launch(device="cpu", compile=False)
    finetune.produce(
        work.Job(stage="finetune", section=section, seed=1, launch=launch, inputs=inputs, identity="x" * 64, **places)
    )
    tuned, _ = lmmodel.load(tmp_path / "output")
    changed = {n for n, value in tuned.named_parameters() if not torch.equal(value, pretrained.get_parameter(n))}
    assert changed == {n for n, _ in pretrained.named_parameters() if ".attention." in n and n.endswith("weight")}
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert finetune.flops_per_token(Finetune(), pretrained.declaration) is None
    assert (numbers["steps"], numbers["tokens"], numbers["flops"]) == (5, 5 * 128, 5 * 128 * each)
