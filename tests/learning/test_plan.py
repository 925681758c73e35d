from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.learning import machine, plan
from lmmodel.learning.plan import Work
from lmmodel.learning.settings import Launch
from lmmodel.params.refusal import Refusal
from tests.learning import small

WORK = Work(parameters=1000, flops_per_token=6000.0, context=16, tokens_per_epoch=4096)
LARGE = Work(parameters=10**9, flops_per_token=6e9, context=16, tokens_per_epoch=10**9)


@pytest.mark.parametrize(
    ("budget", "tokens"),
    [
        ({"tokens": 9600}, 9600),
        ({"epochs": 2}, 8192),
        ({"epochs": 0.5}, 2048),
        ({"flops": 6e6}, 1000),
        ({"tokens_per_parameter": 20}, 20_000),
    ],
)
def test_every_budget_comes_to_as_many_whole_batches_as_it_pays_for(budget: dict, tokens: int) -> None:
    decided = plan.decide(small.section(budget=budget, batch_tokens=96), Launch(device="cpu"), WORK)
    assert decided.tokens <= tokens < decided.tokens + 96


def test_a_budget_below_one_batch_is_one_step() -> None:
    assert plan.decide(small.section(budget={"tokens": 5}), Launch(device="cpu"), WORK).steps == 1


@given(sequences=st.integers(1, 500), target=st.integers(0, 70))
def test_left_open_a_part_is_near_its_target_and_no_part_much_smaller(sequences: int, target: int) -> None:
    size = plan._micro("auto", sequences, target)
    assert 1 <= size <= min(sequences, max(1, target))
    rest = sequences % size
    assert rest == 0 or size - rest < -(-sequences // size)


def test_a_micro_batch_as_told_is_taken_but_never_larger_than_the_batch() -> None:
    assert plan._micro(4, 6, 100) == 4
    assert plan._micro(64, 6, 100) == 6


@given(steps=st.integers(1, 1000), times=st.integers(1, 50))
def test_validations_are_spread_evenly_and_the_last_is_at_the_end(steps: int, times: int) -> None:
    found = plan.evenly(steps, times)
    assert found[-1] == steps
    assert len(found) == min(steps, times)
    gaps = [late - early for early, late in zip((0, *found), found, strict=False)]
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 2


def test_compiling_is_chosen_where_the_run_is_long_and_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    section = small.section(budget={"tokens": 96_000})
    assert not plan.decide(section, Launch(device="cpu"), WORK).compiled
    assert plan.decide(section, Launch(device="cpu", compile=True), WORK).compiled
    assert plan.decide(section, Launch(device="cpu"), LARGE).compiled
    assert not plan.decide(section, Launch(device="cpu", compile=False), LARGE).compiled
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not plan.decide(section, Launch(device="cpu"), LARGE).compiled


def test_a_plan_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    assert plan.kept(tmp_path) is None
    decided = plan.decide(small.section(), Launch(device="cpu"), WORK)
    plan.keep(decided, tmp_path)
    assert plan.kept(tmp_path) == decided


def test_auto_computes_in_bfloat16_where_the_processor_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "instructions", lambda: {"avx512_bf16": True})
    assert machine.precision("auto", "cpu") == "bfloat16"
    monkeypatch.setattr(machine, "instructions", lambda: {"avx512_bf16": False, "avx512_f": True})
    assert machine.precision("auto", "cpu") == "float32"
    assert machine.precision("bfloat16", "cpu") == "bfloat16"


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "devices", lambda: ("cpu",))
    assert machine.device("auto") == "cpu"
    with pytest.raises(Refusal, match="launch.device 'cuda' is not on this machine, which has cpu"):
        machine.device("cuda")


def test_what_began_on_a_device_that_is_not_here_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = plan.decide(small.section(), Launch(device="cpu"), WORK)
    assert plan.shared(began, Launch(), processes=1, scratch=tmp_path) == began
    monkeypatch.setattr(machine, "devices", lambda: ("cpu",))
    away = replace(began, device="cuda")
    with pytest.raises(Refusal, match=f"began on cuda, and this machine has cpu: .* remove {tmp_path} to begin anew"):
        plan.shared(away, Launch(device="cpu"), processes=1, scratch=tmp_path)


def test_what_is_recorded_names_no_machine() -> None:
    recorded = plan.decide(small.section(), Launch(device="cpu"), WORK).record()
    assert set(recorded) == {
        "threads",
        "precision",
        "compiled",
        "micro_sequences",
        "device",
        "processor",
        "system",
        "torch",
    }
