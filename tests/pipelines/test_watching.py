"""What a person sees of a training; and that nobody need look."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lmmodel import progress
from lmmodel.learning import saving
from lmmodel.learning.plan import Work
from lmmodel.learning.reports import Stepped, Validated
from lmmodel.learning.training import Training
from lmmodel.text.tokenizer import Tokenizer, train
from pipelines import health, watching
from tests.learning import small

TO_DO = Work(parameters=2_500_000, flops_per_token=6000.0, context=small.CONTEXT, tokens_per_epoch=384)


@pytest.fixture(autouse=True)
def _untracked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LMMODEL_TRACKING", "off")
    monkeypatch.setattr(health, "NOTES", tmp_path / "health")


class Letters(Tokenizer):
    """Bytes, of which the small model knows the first."""

    def __init__(self) -> None:
        self.bytes = train([], algorithm="byte", vocab_size=261)
        super().__init__(self.bytes._codec, "byte")

    def decode(self, ids: Any) -> str:
        return "".join(chr(ord("a") + number % 26) for number in ids)


def shown(training: Training) -> list[Any]:
    job: Any = SimpleNamespace(stage="pretrain", identity="this work", output=Path("nowhere"))
    return list(watching.shown(training.run(), job, training=training, tokenizer=Letters(), prompt=[3, 4], to_do=TO_DO))


def test_a_person_is_told_what_will_be_done_how_it_goes_and_what_the_model_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown(small.training(tmp_path))
    said = capsys.readouterr().err
    assert "pretrain: 8 steps of 96 tokens, 768 in all or 2.0 epochs; 2.50 M parameters, float32" in said
    assert "not compiled, on cpu: about 1 s" in said
    assert said.count("bits per byte") == 2
    assert "it says:  de | " in said


def test_one_that_goes_on_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stopped = small.training(tmp_path, save_seconds=0).run()
    while not isinstance(report := next(stopped), Stepped) or report.step < 4:
        pass
    stopped.close()
    shown(small.training(tmp_path))
    assert "goes on after step 3 of 8" in capsys.readouterr().err


def test_watching_changes_nothing(tmp_path: Path) -> None:
    seen, unseen = small.training(tmp_path / "seen"), small.training(tmp_path / "unseen")
    validated = [report for report in shown(seen) if isinstance(report, Validated)]
    assert validated == [report for report in unseen.run() if isinstance(report, Validated)]
    assert all(
        (one == other).all() for one, other in zip(seen.model.parameters(), unseen.model.parameters(), strict=True)
    )


def test_how_the_model_was_is_noted_for_its_work_alone_and_said_in_a_line(tmp_path: Path) -> None:
    last = [report for report in shown(small.training(tmp_path)) if isinstance(report, Validated)][-1]
    noted = health.known("pretrain", "this work")
    assert noted is not None
    assert (noted["step"], noted["figures"]) == (8, last.health)
    assert health.known("pretrain", "another work") is health.known("finetune", "this work") is None
    line = health.summary(noted["figures"])
    assert "nats" in line
    assert "0.0% of units dead" in line
    assert "looks at" not in line
    ill = {**noted["figures"], "attention_entropy/layers.1.attention": 0.01, "dead_units/layers.0.feed_forward": 0.7}
    assert "layers.1.attention looks at single tokens only; layers.0.feed_forward is more than half dead" in (
        health.summary(ill)
    )


def test_what_moves_in_a_model_goes_where_curves_go(tmp_path: Path) -> None:
    logged: list[dict[str, float]] = []
    run: Any = SimpleNamespace(log=lambda figures, step: logged.append(figures))
    training = small.training(tmp_path)
    for report in training.run():
        if isinstance(report, Validated):
            watching._track(run, report, training.plan)
    assert len(logged) == 2
    assert {
        "validation_loss_nats",
        "health/gradient_norm/embedding",
        "health/attention_entropy/layers.0.attention",
    } <= (logged[0].keys())


@pytest.mark.parametrize(
    "told",
    [{"ema": {"decay": 0.9}}, {"optimizer": "schedule_free", "schedule": "constant", "precision": "bfloat16"}],
    ids=["ema", "schedule_free"],
)
def test_what_it_says_comes_from_the_weights_that_it_is_judged_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]
) -> None:
    spoke: list[dict[str, torch.Tensor]] = []

    def speak(model: torch.nn.Module, prompts: list[list[int]], **options: Any) -> list[list[int]]:
        spoke.append({name: value.detach().clone() for name, value in model.named_parameters()})
        return prompts

    monkeypatch.setattr("lmmodel.inference.generation.generate", speak)
    training = small.training(tmp_path, told=small.section(**told))
    shown(training)
    left, state = dict(training.model.named_parameters()), saving.latest(tmp_path)
    assert state is not None
    assert len(spoke) == 1  # at the end
    for name, value in spoke[0].items():
        assert torch.equal(value, left[name].to(value.dtype)), name
        assert not torch.equal(value, state[0][f"weights/{name}"].to(value.dtype)), name  # those that go on learning


def test_samples_come_ever_more_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(watching.time, "monotonic", lambda: now)
    samples = watching._Samples(small.training(tmp_path), Letters(), [3])
    told = []
    for second in range(1, 200):
        now = float(second)
        if samples.due(last=second == 199):
            told.append(second)
    assert told == [16, 46, 106, 199]


def test_what_was_waited_for_the_compiler_does_not_count_as_speed():
    with progress.bar(100, "tok", "a training") as line:
        line.advance(10)
        time.sleep(0.2)
        line.unpause()
        told = line._line.format_dict
    assert (told["n"], told["initial"]) == (10, 10)
    assert told["elapsed"] < 0.2
