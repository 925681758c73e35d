"""Several processes train as one does, leave nobody behind, and go on in any number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from lmmodel.learning import plan, saving
from lmmodel.learning.crew import Crew
from lmmodel.params.refusal import Refusal
from tests.learning import small

PROGRAM = Path(__file__).with_name("crewed.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
MANY = "100000"


def command(scratch: Path, processes: int, steps: str = "10", design: str = "dense", *rest: str) -> list[str]:
    scratch.parent.mkdir(exist_ok=True, parents=True)
    return [sys.executable, str(PROGRAM), str(scratch), str(processes), steps, design, *rest]


def more(*, lora: dict[str, Any] | None = None, launch: dict[str, Any] | None = None, **section: Any) -> list[str]:
    """That no state is saved but the last, and what else the program is told."""
    given = {"section": section, "launch": {"micro_batch_sequences": 3, **(launch or {})}}
    return ["1e9", json.dumps(given | ({} if lora is None else {"lora": lora}))]


def told(done: subprocess.CompletedProcess[str]) -> list[list[float]]:
    """Step, loss and norm of the gradients, of each step."""
    assert done.returncode == 0, done.stderr
    return [[float(number) for number in line.split()] for line in done.stdout.splitlines()]


def run(*given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(given, capture_output=True, text=True, check=False, timeout=300)


def under_way(*given: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A training that has made its third step, and the processes that its first one started."""
    process = subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline(), process.communicate()[1]
    return process, psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process], seconds: float = 10) -> bool:
    """Whether all of them end within so many seconds."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def saving_ended_with(process: subprocess.Popen[str], scratch: Path) -> bool:
    """Whether a training, from its third step on, saved the last step that it said, and left."""
    assert process.stdout is not None
    steps = [3, *(int(line.split()[0]) for line in process.stdout)]
    process.communicate(timeout=40)
    found = saving.latest(scratch)
    return found is not None and found[1]["step"] == steps[-1]


def close(one: Path, other: Path, tolerance: float) -> None:
    kept = [load_file(folder / "end.safetensors") for folder in (one, other)]
    assert kept[0].keys() == kept[1].keys()
    for name, value in kept[0].items():
        assert torch.allclose(value, kept[1][name], atol=tolerance), name


def stays_close(
    folder: Path,
    design: str,
    given: list[str],
    *,
    processes: int = 2,
    alone: int = 1,
    tolerance: float = 1e-5,
    **launch: Any,
) -> None:
    """Ten steps of one process and of several, who are told `launch` too: losses, weights, curves and health agree.

    alone: how many the one is, where what is drawn at random depends on that. tolerance: for numbers of fewer bits
    than float32 has.
    """
    one_by_one = told(run(*command(folder / "1", alone, "10", design, *given)))
    seconds, given_json = given
    data = json.loads(given_json)
    data["launch"] |= launch
    several = told(run(*command(folder / "2", processes, "10", design, seconds, json.dumps(data))))
    assert len(several) == len(one_by_one) >= 10
    for one, other in zip(one_by_one, several, strict=True):
        assert other == pytest.approx(one, rel=tolerance)
    close(folder / "1", folder / "2", tolerance)
    curves = [(folder / n / "curve.csv").read_text().splitlines()[-1].split(",") for n in "12"]
    assert [*map(float, curves[1])] == pytest.approx([*map(float, curves[0])], rel=tolerance)
    health = [json.loads((folder / n / "health.json").read_text()) for n in "12"]
    assert health[1] == pytest.approx(health[0], rel=max(1e-3, 10 * tolerance), abs=max(1e-6, tolerance))


def one_is_killed(scratch: Path, *rest: str, later: int) -> None:
    """Of three: the others end too, a line says what stands, and `later` processes go on."""
    process, others = under_way(*command(scratch, 3, MANY, "dense", *rest))
    assert len(others) == 2
    others[0].send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert gone(others)
    assert "what was last saved stands" in said
    assert "Traceback" not in said
    again, _ = under_way(*command(scratch, later, MANY, "dense", *rest))
    again.kill()
    again.communicate()


@pytest.mark.parametrize("design", ["dense", "experts", "balanced"])
def test_processes_stay_within_rounding_of_one(tmp_path: Path, design: str) -> None:
    """Experts too: their losses are per row, and their loads are summed before the bias moves."""
    stays_close(tmp_path, design, more())


WARMUP = {"first_tokens": 3 * small.CONTEXT, "fraction": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        more(ema={"decay": 0.8}, early_stopping={"patience": 9}),
        more(optimizer={"kind": "soap", "epsilon": 1e-4, "basis_steps": 3}),
        more(lora={"rank": 2}, optimizer={"kind": "adamw", "learning_rate": 0.001}),
        more(batch_warmup=WARMUP),
    ],
    ids=["ema", "soap", "lora", "batch_warmup"],
)
def test_so_do_averages_other_optimizers_methods_and_batches_that_grow(tmp_path: Path, given: list[str]) -> None:
    """SOAP with a floor that rounding stays below: in directions without a gradient it would follow the last bits."""
    stays_close(tmp_path, "dense", given)


def test_batches_that_begin_with_fewer_rows_than_processes_are_refused() -> None:
    growing = small.section(batch_warmup=WARMUP)
    assert small.plan(growing, processes=3).cuts
    with pytest.raises(Refusal, match="4 processes share a batch of 3 sequences, and some would have none"):
        small.plan(growing, processes=4)


@pytest.mark.slow
def test_twice_the_same_processes_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        told(run(*command(tmp_path / name, 2, "4", "experts")))
    for file in ("end.safetensors", "curve.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.slow
def test_torchrun_starts_them_too(tmp_path: Path) -> None:
    alone = told(run(*command(tmp_path / "1", 1, "4")))
    two = told(run(*TORCHRUN, *command(tmp_path / "2", 1, "4")[1:]))
    for one, other in zip(alone, two, strict=True):
        assert other == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize("processes", [1, 3])
def test_what_two_saved_any_number_goes_on_with(tmp_path: Path, processes: int) -> None:
    told(run(*command(tmp_path / "whole", 1)))
    process, _ = under_way(*command(tmp_path / "cut", 2, "10", "dense", "0"))
    process.kill()
    process.communicate()
    before = saving.latest(tmp_path / "cut")
    assert before is not None
    assert before[1]["step"] >= 2
    went_on = told(run(*command(tmp_path / "cut", processes)))
    assert [step for step, *_ in went_on] == [*range(before[1]["step"] + 1, 11)]
    close(tmp_path / "whole", tmp_path / "cut", 1e-5)
    decided = plan.kept(tmp_path / "cut")
    assert decided is not None
    assert decided.processes == processes


def test_when_one_is_killed_none_is_left_and_it_goes_on_later(tmp_path: Path) -> None:
    one_is_killed(tmp_path / "run", "0", later=2)


def test_processes_that_were_started_here_listen_to_this_machine_alone(tmp_path: Path) -> None:
    process, others = under_way(*command(tmp_path / "run", 2, MANY))
    both = [psutil.Process(process.pid), *others]
    listening = [one.laddr.ip for each in both for one in each.net_connections() if one.status == psutil.CONN_LISTEN]
    process.kill()
    process.communicate()
    assert gone(others)
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1"}


def test_when_the_first_is_killed_the_others_end(tmp_path: Path) -> None:
    process, others = under_way(*command(tmp_path / "run", 3, MANY))
    process.kill()
    process.wait()
    assert gone(others)
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_all_stop_after_the_same_step(tmp_path: Path, number: signal.Signals) -> None:
    process, others = under_way(*command(tmp_path / "run", 2, MANY))
    assert all(os.getpgid(other.pid) != os.getpgid(process.pid) for other in others)
    process.send_signal(number)
    assert saving_ended_with(process, tmp_path / "run")
    assert gone(others)


@pytest.mark.slow
def test_torchrun_told_to_stop_with_all_that_it_started_saves_first(tmp_path: Path) -> None:
    """As Slurm tells it: each process gets SIGTERM, and torchrun passes on its own."""
    given = [*TORCHRUN, *command(tmp_path / "run", 1, MANY)[1:]]
    process = subprocess.Popen(
        given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline()
    others = psutil.Process(process.pid).children(recursive=True)
    for one in (psutil.Process(process.pid), *others):
        one.send_signal(signal.SIGTERM)
    assert saving_ended_with(process, tmp_path / "run")
    assert process.returncode
    assert gone(others)


def test_more_processes_than_sequences_are_refused() -> None:
    with pytest.raises(Refusal, match="7 processes share a batch of 6 sequences, and some would have none"):
        small.plan(small.section(), processes=7)


def test_rows_are_shared_without_rest_or_overlap() -> None:
    for size in range(1, 8):
        for count in range(size, 20):
            parts = [[*range(count)][Crew(rank, size).rows(count)] for rank in range(size)]
            assert [row for part in parts for row in part] == [*range(count)]
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_each_process_takes_as_many_turns_and_what_is_missing_counts_nothing() -> None:
    batches = [small.Text().batch(number) for number in range(5)]
    taken = [[*Crew(rank, 3).turns(batches)] for rank in range(3)]
    assert [len(turns) for turns in taken] == [2, 2, 2]
    assert taken[2][1].weights_BT.sum() == 0
    assert sum(turn.weights_BT.sum() for turns in taken for turn in turns) == pytest.approx(
        sum(batch.weights_BT.sum() for batch in batches)
    )


def test_a_record_names_several_processes_only() -> None:
    assert "processes" not in small.plan(small.section()).record()
    assert small.plan(small.section(), processes=2).record()["processes"] == 2


@pytest.mark.slow
def test_a_second_first_process_is_refused(tmp_path: Path) -> None:
    process, others = under_way(*command(tmp_path / "run", 2, MANY))
    second = run(*command(tmp_path / "run", 2, MANY))
    assert second.returncode == 1
    assert f"process {process.pid} is at this very work" in second.stderr
    process.kill()
    process.communicate()
    assert gone(others)
