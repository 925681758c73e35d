"""What is told of a training step beforehand is what a real one takes: bytes, to 2 %; operations, exactly."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmmodel.architecture import count
from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.model import build
from lmmodel.learning import rehearsal
from lmmodel.learning.loss import Batch, Losses
from lmmodel.learning.plan import Plan
from lmmodel.learning.recomputing import recomputed
from lmmodel.learning.rehearsal import rehearse
from lmmodel.learning.settings import Finetune, Pretrain
from lmmodel.learning.training import Training
from lmmodel.learning.weights import DTYPES
from lmmodel.text.batches import TokenBatch
from tests.architecture.properties import declared

SIZE, ROWS, CONTEXT, VOCABULARY = "width: 64, depth: 3, heads: 4, context: 128", 4, 128, 300
DESIGNS = {
    "gpt2": "gpt2",
    "llama3": "llama3",
    "untied, further ahead": "{like: llama3, head: {ahead: 1}}",
    "experts": "{feed_forward: {kind: experts, experts: 4, active: 2}}",
    "gated_delta": "{attention: gated_delta}",
    "scores": "{like: gemma2}",
}


def section(optimizer: str, precision: str) -> Pretrain:
    return Pretrain.model_validate({"optimizer": optimizer, "precision": precision, "batch_tokens": 2 * ROWS * CONTEXT})


class Rows:
    """Two parts of `ROWS` rows each."""

    tokens_per_epoch = 10**6

    def batch(self, step: int) -> TokenBatch:
        rows = np.random.default_rng(step).integers(0, VOCABULARY, (2 * ROWS, CONTEXT + 1))
        return TokenBatch(rows[:, :-1], rows[:, 1:], None, None)


def training(design: str, told: Pretrain | Finetune, precision: str, scratch: Path) -> Training:
    """A real one, of two steps of two parts."""
    plan = Plan(2, 2 * ROWS, ROWS, CONTEXT, (), "cpu", torch.get_num_threads(), precision, compiled=False)
    made = rehearsal._prepared(build(declaration(design), seed=1), told)
    lengths = np.ones(VOCABULARY, dtype=np.int64)
    batches: Any = Rows()
    return Training(made, batches, plan=plan, section=told, seed=1, byte_lengths_V=lengths, scratch=scratch)


def declaration(design: str) -> Declaration:
    return declared(DESIGNS[design], SIZE, VOCABULARY)


def peak_of_a_real_training(real: Training) -> int:
    """Of all tensors alive at once, by torch's own tracker, which wants to be told where a pass begins."""
    from torch.distributed._tools.mem_tracker import MemTracker

    tracker = MemTracker()
    kept = [*real.weights.masters.values(), *real.judged.state().values()]
    tracker.track_external(real.model, *real.update.parts, *kept)

    def forward(part: Batch) -> Losses:
        tracker.reset_mod_stats()
        return real.objective(part)

    real._forward = forward
    with tracker:
        for _ in real.run():
            pass
    return tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]


FAST = [
    ("gpt2", "adamw", "float32"),
    ("llama3", "muon", "bfloat16"),
    ("llama3", "adamw", "autocast"),
    ("experts", "muon", "float32"),
    ("llama3", "soap", "float32"),
]
ALL = [(design, optimizer, kind) for design in DESIGNS for optimizer in ("muon", "adamw") for kind in DTYPES]


@pytest.mark.parametrize(
    ("design", "optimizer", "precision"),
    [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in ALL if case not in FAST)],
)
def test_the_peak_of_a_real_training_step_is_foretold_within_2_percent(design, optimizer, precision, tmp_path):
    told = section(optimizer, precision)
    real = peak_of_a_real_training(training(design, told, precision, tmp_path))
    (foretold,) = rehearse(declaration(design), told, precision=precision, sequences=(ROWS,))
    assert foretold.peak_bytes == pytest.approx(real, rel=0.02)


@pytest.mark.parametrize("more", [{"dropout": 0.2}, {"ema": {}, "early_stopping": {}}], ids=str)
def test_so_is_what_an_average_the_best_weights_and_dropout_take(more, tmp_path):
    told = Pretrain.model_validate({**section("adamw", "float32").dump(), **more})
    began = training("llama3", told, "float32", tmp_path)
    began.judged.note([{"validation_loss_nats": 5.0}])  # as after a validation, which keeps the weights that it liked
    real = peak_of_a_real_training(began)
    bare, full = (
        rehearse(declaration("llama3"), one, precision="float32", sequences=(ROWS,))[0]
        for one in (section("adamw", "float32"), told)
    )
    assert full.peak_bytes == pytest.approx(real, rel=0.02)
    assert full.peak_bytes > 1.03 * bare.peak_bytes


def test_of_a_fine_tuning_only_what_its_method_teaches_is_counted(tmp_path):
    told = Finetune.model_validate({"method": {"kind": "lora", "rank": 4}, "batch_tokens": 2 * ROWS * CONTEXT})
    one, two = rehearse(declaration("llama3"), told, precision="float32", sequences=(ROWS, 2 * ROWS))
    real = training("llama3", told, "float32", tmp_path)
    assert one.learning == sum(master.numel() for master in real.weights.masters.values())
    assert one.learning == 3 * 4 * (2 * 64 + 2 * (64 + 16) + 64 + 64 + 3 * (64 + 224))  # rank times widths, of 3 layers
    assert one.gradients_bytes == 4 * one.learning
    (whole,) = rehearse(declaration("llama3"), section("adamw", "float32"), precision="float32", sequences=(ROWS,))
    assert one.learning < 0.2 * whole.learning
    assert one.optimizer_bytes < 0.2 * whole.optimizer_bytes
    assert 0.6 < (two.part.flops - one.part.flops) / whole.part.flops < 0.9  # weights that stand still have no gradient


def test_without_computing_anything_the_same_is_foretold(monkeypatch):
    told = section("muon", "bfloat16")
    computed = rehearse(declaration("llama3"), told, precision="bfloat16", sequences=(1, 2))
    monkeypatch.setattr(rehearsal, "_REALLY_RUN_FLOPS", 0)
    foretold = rehearse(declaration("llama3"), told, precision="bfloat16", sequences=(1, 2))
    for one, other in zip(foretold, computed, strict=True):
        assert one.update.flops == other.update.flops
        assert replace(one, update=other.update) == other  # without values, torch updates one by one


@pytest.mark.slow
@pytest.mark.parametrize("design", ["llama3", "scores"])
def test_many_layers_are_foretold_from_a_few(design, monkeypatch):
    deep = declared(DESIGNS[design], SIZE.replace("depth: 3", "depth: 12"), VOCABULARY)
    told = section("muon", "bfloat16")
    (whole,) = rehearse(deep, told, precision="bfloat16", sequences=(2,))
    monkeypatch.setattr(rehearsal, "_REALLY_RUN_FLOPS", 0)
    (few,) = rehearse(deep, told, precision="bfloat16", sequences=(2,))
    assert few.peak_bytes == pytest.approx(whole.peak_bytes, rel=0.02)
    assert few.weights_bytes == whole.weights_bytes
    assert few.optimizer_bytes == pytest.approx(whole.optimizer_bytes, rel=0.001)
    assert few.part.flops == whole.part.flops
    assert few.checkpointed_bytes == pytest.approx(whole.checkpointed_bytes, rel=0.02)


def test_layers_left_out_do_not_change_what_predicts_further_tokens(monkeypatch):
    layers = "layers: {a: {attention: none}, b: {}}, pattern: [{a: 3}, b]"  # the last of the ten is an a
    hybrid = declared(f"{{{layers}, head: {{ahead: 1}}}}", "width: 32, depth: 10, heads: 4, context: 16", VOCABULARY)
    told = section("adamw", "float32")
    (whole,) = rehearse(hybrid, told, precision="float32", sequences=(2,))
    monkeypatch.setattr(rehearsal, "_REALLY_RUN_FLOPS", 0)
    monkeypatch.setattr(rehearsal, "_MOST_LAYERS", 0)
    (few,) = rehearse(hybrid, told, precision="float32", sequences=(2,))
    assert few.learning == whole.learning
    assert few.part.flops == whole.part.flops


def test_what_is_held_is_what_the_weights_and_the_optimizer_take():
    told, parameters = section("adamw", "float32"), count.measure(declaration("gpt2")).parameters
    (one,) = rehearse(declaration("gpt2"), told, precision="float32", sequences=(1,))
    assert (one.weights_bytes, one.gradients_bytes) == (4 * parameters, 4 * parameters)
    assert one.optimizer_bytes == pytest.approx(8 * parameters, rel=0.001)  # and a step number for each
    (narrow,) = rehearse(declaration("gpt2"), told, precision="bfloat16", sequences=(1,))
    assert (narrow.weights_bytes, narrow.gradients_bytes) == (6 * parameters, 4 * parameters)


@pytest.mark.parametrize("design", ["gpt2", "llama3"])
def test_operations_of_a_step_are_three_times_those_of_a_forward_pass(design):
    counts = count.measure(declaration(design))
    first, second = rehearse(declaration(design), section("muon", "float32"), precision="float32", sequences=(1, 2))
    attention = counts.parts["attention"].flops_per_token
    scores = attention - 2 * counts.parts["attention"].parameters
    # Fused attention computes the scores anew on the way back: seven products for the six of three times forward.
    extra = scores / 2
    assert second.part.flops == 2 * first.part.flops
    assert first.part.flops / CONTEXT == pytest.approx(counts.training_flops_per_token + extra, rel=0.01)
    assert second.part.kernels == pytest.approx(first.part.kernels, rel=0.01)


@pytest.mark.parametrize("design", ["llama3", "gated_delta"])
def test_layers_computed_again_keep_what_torch_keeps_then(design):
    made, tokens_BT = build(declaration(design), seed=1), torch.zeros(ROWS, CONTEXT, dtype=torch.int64)
    (one,) = rehearse(declaration(design), section("adamw", "float32"), precision="float32", sequences=(ROWS,))
    with rehearsal._Watch() as watch:
        made.trace(tokens_BT)
        before = watch.live
        kept = made.trace(tokens_BT)
        whole = watch.live - before
        del kept
        with recomputed(made):
            before = watch.live
            kept = made.trace(tokens_BT)
            saved = whole - (watch.live - before)
            del kept
    # One layer of three is computed again at a time, so two thirds of what checkpointing saves at once are saved.
    assert one.activation_bytes - one.checkpointed_bytes == pytest.approx(saved * 2 / 3, rel=0.1)


def test_a_larger_part_keeps_more_in_proportion():
    told = section("muon", "float32")
    one, two, four = rehearse(declaration("llama3"), told, precision="float32", sequences=(1, 2, 4))
    each = two.activation_bytes - one.activation_bytes
    assert four.activation_bytes == pytest.approx(two.activation_bytes + 2 * each, rel=0.001)
    assert one.update == two.update == four.update
    assert 0 < one.checkpointed_bytes < one.activation_bytes


def test_a_rehearsal_loads_no_compiler_and_leaves_none_that_is_not_one() -> None:
    code = """
import sys, torch
from lmmodel.learning.rehearsal import rehearse
from tests.learning.test_rehearsal import declaration, section
rehearse(declaration("llama3"), section("muon", "float32"), precision="float32", sequences=(1,))
assert "torch._dynamo" not in sys.modules, "it was loaded"
assert "sympy" not in sys.modules
weight = torch.nn.Parameter(torch.ones(2))
torch.optim.AdamW([weight], fused=True)
torch.compile(torch.sin, backend="eager")(weight)
assert sys.modules["torch._dynamo"].__file__, "a stand-in is left behind"
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
