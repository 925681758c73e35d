"""The loop's promises: what it computes does not depend on how it is cut, or on how often it was stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from lmmodel.learning import saving
from lmmodel.learning.families import OPTIMIZER
from lmmodel.learning.plan import kept
from lmmodel.learning.reports import Began, Report, Said, Saved, Stepped, Validated
from lmmodel.learning.training import Training
from lmmodel.params.refusal import Refusal
from tests.learning import small


def finish(training: Training) -> dict[str, torch.Tensor]:
    """All of it; what the weights came to."""
    for _ in training.run():
        pass
    return {name: parameter.detach().clone() for name, parameter in training.model.named_parameters()}


def until(training: Training, step: int) -> None:
    """As far as `step`, and then left as a killed process leaves it."""
    reports = training.run()
    for report in reports:
        if isinstance(report, Saved) and report.step == step:
            reports.close()
            return


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("precision", ["float32", "autocast", "bfloat16"])
@pytest.mark.parametrize("optimizer", OPTIMIZER.names())
def test_stopped_twice_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path, precision: str, optimizer: str) -> None:
    told = small.section(precision=precision, optimizer=optimizer, schedule="constant")
    unbroken = small.training(tmp_path / "unbroken", told=told)
    wanted = finish(unbroken)
    for step in (3, 6):
        until(small.training(tmp_path / "broken", told=told, save_seconds=0), step)
    resumed = small.training(tmp_path / "broken", told=told)
    assert same(finish(resumed), wanted)
    assert resumed.rows == unbroken.rows
    kept = [saving.states(tmp_path / name)[-1] / "state.safetensors" for name in ("unbroken", "broken")]
    assert kept[0].read_bytes() == kept[1].read_bytes()


def test_a_finished_training_is_taken_up_without_a_step(tmp_path: Path) -> None:
    wanted = finish(small.training(tmp_path))
    again = small.training(tmp_path)
    assert same(finish(again), wanted)
    assert len(again.rows) == 2


@pytest.mark.parametrize("sequences", [1, 2, 4, 5])
def test_micro_batches_change_nothing_but_rounding(tmp_path: Path, sequences: int) -> None:
    told = small.section(optimizer={"kind": "adamw", "learning_rate": 0.01})
    wanted = finish(small.training(tmp_path / "whole", told=told, plan=small.plan(told, micro_batch_sequences=6)))
    cut = small.training(tmp_path / "cut", told=told, plan=small.plan(told, micro_batch_sequences=sequences))
    for name, value in finish(cut).items():
        assert torch.allclose(value, wanted[name], atol=2e-4), name


def test_the_loss_falls_as_it_did_when_this_was_written(tmp_path: Path) -> None:
    told = small.section(budget={"tokens": 60 * 96}, optimizer="muon")
    training = small.training(tmp_path, told=told, text=small.Text(weighted=False))
    finish(training)
    nats = [row["validation_loss_nats"] for row in training.rows]
    assert nats == pytest.approx([2.994, 2.626], abs=0.02)  # of ln 40 = 3.689


def test_nats_and_bits_are_those_of_the_validation_text(tmp_path: Path) -> None:
    training = small.training(tmp_path)
    finish(training)
    nats = tokens = length = 0.0
    for batch in training.batches.validation(160):
        with torch.no_grad():
            logits = training.model(torch.from_numpy(batch.tokens_BT.copy()))
        targets, weights = torch.from_numpy(batch.targets_BT.copy()), torch.from_numpy(batch.weights_BT)
        each = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        nats += float(each @ weights.flatten())
        tokens += float(weights.sum())
        length += float((torch.from_numpy(small.BYTE_LENGTHS)[targets] * weights).sum())
    assert training.rows[-1]["validation_loss_nats"] == pytest.approx(nats / tokens, rel=1e-5)
    assert training.rows[-1]["validation_bits_per_byte"] == pytest.approx(nats / length / 0.6931471805599453, rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "autocast", "bfloat16"])
def test_schedule_free_is_validated_and_left_at_its_average(tmp_path: Path, precision: str) -> None:
    told = small.section(
        precision=precision,
        optimizer={"kind": "schedule_free", "learning_rate": 0.05},
        schedule={"kind": "constant", "warmup_fraction": 0.2},
    )
    training = small.training(tmp_path, told=told)
    finish(training)
    average = training.update.averaged()
    kept, _ = saving.latest(tmp_path)
    assert any(not torch.equal(kept[f"weights/{name}"], value) for name, value in training.model.named_parameters())
    again = small.training(tmp_path, told=told)
    assert same(finish(again), dict(training.model.named_parameters()))
    assert training.rows[-1]["validation_loss_nats"] == pytest.approx(
        _validated(training), rel=1e-5 if precision == "float32" else 5e-3
    )
    assert average.keys() == dict(training.model.named_parameters()).keys()


def _validated(training: Training) -> float:
    """Nats a token of the validation text, with the weights that the model is left with."""
    nats = tokens = 0.0
    for batch in training.batches.validation(160):
        with torch.no_grad():
            logits = training.model(torch.from_numpy(batch.tokens_BT.copy()))
        targets, weights = torch.from_numpy(batch.targets_BT.copy()), torch.from_numpy(batch.weights_BT)
        each = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        nats, tokens = nats + float(each @ weights.flatten()), tokens + float(weights.sum())
    return nats / tokens


def test_a_training_loss_is_the_mean_over_the_tokens_since_the_last_validation(tmp_path: Path) -> None:
    reports = list(small.training(tmp_path, text=small.Text(weighted=False)).run())
    stepped = [report.loss_nats for report in reports if isinstance(report, Stepped)]
    validated = [report.train_loss_nats for report in reports if isinstance(report, Validated)]
    assert validated == pytest.approx([sum(stepped[:4]) / 4, sum(stepped[4:]) / 4])


def test_reports_come_in_the_order_of_the_work(tmp_path: Path) -> None:
    kinds = [type(report) for report in small.training(tmp_path, save_seconds=0).run()]
    step = [Stepped, Saved]
    assert kinds == [Began, *step * 3, Stepped, Validated, Saved, *step * 3, Stepped, Validated, Saved]


def test_documents_kept_apart_train_too(tmp_path: Path) -> None:
    joined = finish(small.training(tmp_path / "joined"))
    apart = finish(small.training(tmp_path / "apart", text=small.Text(separate=True)))
    assert not same(joined, apart)


def test_a_component_that_adapts_hears_the_sums_of_a_whole_step(tmp_path: Path) -> None:
    heard: list[dict[str, float]] = []

    def adapting(sequences: int) -> Training:
        model = small.model()
        layer = model.layers[0]
        layer.register_forward_pre_hook(
            lambda module, given: given[1].report(module, "tokens", torch.tensor(float(given[0].shape[:2].numel())))
        )
        layer.adapt = lambda reports: heard.append({name: float(value) for name, value in reports.items()})
        told = small.section()
        plan = small.plan(told, micro_batch_sequences=sequences)
        return small.training(tmp_path / str(sequences), model=model, told=told, plan=plan)

    finish(adapting(2))
    finish(adapting(6))
    assert heard == [{"tokens": float(small.ROWS * small.CONTEXT)}] * 16


class Overflow(nn.Module):
    """Multiplies what passes by a number too large, from a given call on."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        return x if self.left >= 0 else x * float("inf")


def test_a_loss_that_is_not_finite_names_the_step_and_the_module(tmp_path: Path) -> None:
    model = small.model()
    model.layers[1].feed_forward.gate = nn.Sequential(model.layers[1].feed_forward.gate, Overflow(4))
    training = small.training(tmp_path, model=model)
    with pytest.raises(Refusal, match=r"step 3 of 8: the loss is nan; .*layers\.1\.feed_forward\.gate\.1 .*(nan|inf)"):
        finish(training)
    found = saving.latest(tmp_path)
    assert found is not None
    assert found[1]["step"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in found[0].values())


def test_a_gradient_that_is_not_finite_is_named_too(tmp_path: Path) -> None:
    model = small.model()

    def spoil(module: nn.Module, given: object, output: torch.Tensor) -> None:
        output.register_hook(lambda gradient: gradient * float("nan"))

    model.layers[0].attention.out.register_forward_hook(spoil)
    with pytest.raises(Refusal, match=r"step 1 of 8: a gradient is not finite; .* comes back to layers\.0"):
        finish(small.training(tmp_path, model=model))


@pytest.mark.parametrize("step", [1, 8])
def test_a_validation_that_is_not_finite_says_after_which_step_and_what_is_kept(tmp_path: Path, step: int) -> None:
    """Of eight steps the first or the last goes wrong: the loss before it was taken, and none is after it."""
    training = small.training(tmp_path, told=small.section(validate={"times": 8, "tokens": 160}), save_seconds=0)
    apply = training.update.apply

    def spoil(fraction: float, norm: torch.Tensor) -> None:
        apply(fraction, norm)
        if training.step + 1 == step:
            next(iter(training.weights.masters.values())).data.fill_(float("inf"))

    training.update.apply = spoil  # type: ignore[method-assign]
    kept = r"The state before it is in .*step-0*7\." if step == 8 else "No state had been saved"
    said = rf"(?s)after step {step} of 8: the validation loss is nan: the last update broke the weights.*{kept}"
    with pytest.raises(Refusal, match=said):
        finish(training)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_goes_on_later(tmp_path: Path, number: signal.Signals) -> None:
    wanted = finish(small.training(tmp_path / "unbroken"))
    before = signal.getsignal(number)

    def interrupted(reports: list[Report]) -> None:
        for report in small.training(tmp_path / "stopped").run():
            reports.append(report)
            if isinstance(report, Stepped) and report.step == 3:
                os.kill(os.getpid(), number)

    reports: list[Report] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(reports)
    assert signal.getsignal(number) == before
    assert any(isinstance(report, Saved) for report in reports)
    assert same(finish(small.training(tmp_path / "stopped")), wanted)


def test_torch_is_left_as_it_was_found(tmp_path: Path) -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    finish(small.training(tmp_path))
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before


def test_what_draws_at_random_draws_the_same_after_a_resume(tmp_path: Path) -> None:
    def noisy() -> nn.Module:
        model = small.model()
        model.layers[0].register_forward_hook(lambda module, given, out: out + 0.1 * torch.randn_like(out))
        return model

    wanted = finish(small.training(tmp_path / "unbroken", model=noisy()))
    until(small.training(tmp_path / "broken", model=noisy(), save_seconds=0), 3)
    torch.rand(7)
    assert same(finish(small.training(tmp_path / "broken", model=noisy())), wanted)


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_it_learns_the_same_and_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    told = small.section(precision="bfloat16")
    plan = small.plan(told, compile=True)
    wanted = finish(small.training(tmp_path / "unbroken", told=told, plan=plan))
    until(small.training(tmp_path / "broken", told=told, plan=plan, save_seconds=0), 3)
    assert same(finish(small.training(tmp_path / "broken", told=told, plan=plan)), wanted)
    eager = finish(small.training(tmp_path / "eager", told=told))
    for name, value in wanted.items():
        assert torch.allclose(value, eager[name], atol=0.05), name


def test_what_cannot_be_compiled_is_trained_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = small.section()
    wanted = finish(small.training(tmp_path / "eager", told=told))

    def broken(module: nn.Module, **options: object) -> nn.Module:
        def fail(*given: object) -> None:
            raise RuntimeError("no compiler\nand a long story")

        return fail  # type: ignore[return-value]

    monkeypatch.setattr(torch, "compile", broken)
    training = small.training(tmp_path / "asked", told=told, plan=small.plan(told, compile=True))
    assert training.plan.compiled
    said = [report.text for report in training.run() if isinstance(report, Said)]
    assert said[1] == "this cannot be compiled here, so it is not (no compiler)"
    assert not training.plan.compiled
    assert kept(tmp_path / "asked") == training.plan
    assert all(torch.equal(value, wanted[name]) for name, value in training.model.named_parameters())
