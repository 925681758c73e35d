"""What `lmmodel design` says about costs: memory, context, machines; quickly, once things are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmmodel.architecture import count
from lmmodel.learning.outlook import Rates
from lmmodel.learning.settings import Ema
from lmmodel.params.refusal import Refusal
from pipelines import hardware, pace, planning
from pipelines.foreseen import Foreseen, foreseen, taught
from pipelines.pages import design
from tests.pipelines.test_pages_design import tiny

__all__ = ["tiny"]


def looked_at(name: str | None = None) -> tuple[Any, dict[str, Any], Foreseen, Any]:
    given = design.chosen(name, published_size=False)
    counts = count.measure(given.declaration).dump()
    plan = planning.decided(given, counts)
    return given, counts, foreseen(given, plan), plan


@pytest.mark.usefixtures("tiny")
def test_flops_at_another_context_are_those_of_a_model_with_that_context() -> None:
    given, _, view, _ = looked_at()
    longer = count.measure(given.declaration.model_copy(update={"context": 4 * given.declaration.context}))
    assert {part: round(flops) for part, flops in view.flops_at(4 * given.declaration.context).items()} == {
        name: part.flops_per_token for name, part in longer.parts.items() if part.flops_per_token
    }
    text = "\n".join(planning.by_context(given, view))
    assert f"{longer.flops_per_token:,}" in text
    assert f"{2 * longer.flops_per_token:,}" in text


@pytest.mark.usefixtures("tiny")
def test_what_was_foreseen_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, first, plan = looked_at()
    monkeypatch.setattr("pipelines.foreseen._steps", lambda *_: pytest.fail("looked again"))
    given = looked_at()[0]
    section = given.sections["pretrain"]
    assert foreseen(given, plan) == first
    changed = design.chosen("gpt2", published_size=False)
    averaged = replace(given, sections={**given.sections, "pretrain": section.model_copy(update={"ema": Ema()})})
    for other in (changed, averaged):
        with pytest.raises(pytest.fail.Exception):
            foreseen(other, plan)


@pytest.mark.usefixtures("tiny")
def test_a_machine_is_measured_once_and_then_known(monkeypatch: pytest.MonkeyPatch) -> None:
    given, counts, view, plan = looked_at()
    unknown, *others = planning.rows(given, counts, view, plan)
    assert unknown.tokens_per_second is None
    assert "--measure" in unknown.source
    assert all(row.tokens_per_second and row.most_sequences for row in others)
    monkeypatch.setattr(pace, "seconds", lambda shape, rows, plan, section: 1e-12 * shape["width"] * rows)
    machine = pace.measured(plan, given.sections["pretrain"])
    assert pace.known(plan.device, plan.precision, plan.threads) == machine
    assert pace.known(plan.device, plan.precision, plan.threads + 1) is None
    row = planning.rows(given, counts, view, plan)[0]
    work = view.outlook.step(plan.sequences, plan.micro_sequences)
    assert row.tokens_per_second == pytest.approx(plan.batch_tokens / machine.rates.seconds(work))
    assert row.seconds == pytest.approx(planning.budget_tokens(given, counts) / row.tokens_per_second)


def test_every_sheet_has_a_source_and_is_taken_below_its_peak() -> None:
    found = hardware.devices()
    assert len(found) >= 8
    assert len({device.name for device in found}) == len(found)
    for device in found:
        assert device.source
        assert device.usable_bytes < device.memory_bytes
        assert 1e11 < 1 / device.rates.flop_seconds < 1e15
    by_name = {device.name: device for device in found}
    assert by_name["T4"].precision == "float32"  # it computes bfloat16 only by imitation
    assert by_name["H200"].memory_bytes == 141 * 2**30


def test_what_does_not_fit_says_so() -> None:
    row = planning.Row("a card", "float32", 0, None, None, "a sheet")

    class Plan:
        context, sequences = 32, 4

    assert "does not fit" in "\n".join(planning.table([row], Plan()))  # type: ignore[arg-type]


@pytest.mark.usefixtures("tiny")
def test_the_table_is_data_too(capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines import cli

    cli.main(["design", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["memory"]["weights_bytes"] in (4 * data["counts"]["parameters"], 6 * data["counts"]["parameters"])
    assert {"name", "most_sequences", "tokens_per_second", "seconds"} <= set(data["on"][0])
    assert Path(".lmmodel/foreseen").is_dir()


@pytest.mark.usefixtures("tiny")
def test_a_fine_tuning_of_few_numbers_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines import cli

    cli.main(["design", "--json"])
    assert json.loads(capsys.readouterr().out)["finetuning"] is None  # all weights learn, as in pretraining
    written = Path("params.yaml").read_text()
    Path("params.yaml").write_text(written.replace("finetune:\n", "finetune:\n  method: {kind: lora, rank: 2}\n"))
    cli.main(["design", "--json"])
    data = json.loads(capsys.readouterr().out)
    told, whole = data["finetuning"], data["memory"]
    assert 0 < told["learning_parameters"] < 0.2 * data["counts"]["parameters"]
    assert whole["learning_parameters"] == data["counts"]["parameters"]
    assert told["optimizer_bytes"] < 0.3 * whole["optimizer_bytes"]
    cli.main(["design"])
    assert f"lora: {told['learning_parameters']:,} numbers learn" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("tiny")
def test_a_method_that_finds_nothing_to_teach_is_refused_by_file_and_key() -> None:
    written = Path("params.yaml").read_text()
    Path("params.yaml").write_text(written.replace("finetune:\n", "finetune:\n  method: {kind: lora, parts: []}\n"))
    given = design.chosen(None, published_size=False)
    with pytest.raises(Refusal, match=r"^params\.yaml: finetune\.method\.parts: nothing holds no linear"):
        taught(given, "cpu")


def test_real_steps_are_timed() -> None:
    from dataclasses import replace

    from lmmodel.learning.settings import Pretrain
    from tests.learning.small import plan, section

    small = {"width": 16, "depth": 1, "heads": 2, "context": 16}
    told: Pretrain = section()
    assert pace.seconds(small, 2, replace(plan(told), precision="float32"), told) > 0
    assert isinstance(Rates(1, 1, 1).seconds(pace.work(small, 2, plan(told), told)), float)
