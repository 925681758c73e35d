"""What a person sees of a training; and that nobody need look."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lmmodel import progress
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
    job: Any = SimpleNamespace(stage="pretrain", identity="this work")
    return list(
        watching.shown(training.run(), job, model=training.model, tokenizer=Letters(), prompt=[3, 4], to_do=TO_DO)
    )


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


def test_samples_come_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(watching.time, "monotonic", lambda: now)
    samples = watching._Samples(small.model(), Letters(), [3])
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
