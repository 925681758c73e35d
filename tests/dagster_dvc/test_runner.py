from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.dagster_dvc import graph, runner, turn
from tests.dagster_dvc.toy import Toy, environment

STARTER = """
import sys
from pipelines.dagster_dvc import runner
with runner.started(sys.argv[1], "slow") as run:
    for line in run:
        print(line, flush=True)
"""


def outcomes(toy: Toy, *names: str) -> dict[str, runner.Outcome]:
    with runner.started(toy.root, *names) as run:
        list(run)
    return run.outcomes


def until(true: Callable[[], object], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it never came to that"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def interrupted(toy: Toy) -> None:
    """Ctrl-C, once the slow stage is under way."""
    with runner.started(toy.root, "slow") as run:
        for line in run:
            if line == "under way":
                raise KeyboardInterrupt


def starter(toy: Toy, *before: str) -> subprocess.Popen[bytes]:
    """Another process that runs the slow stage, once that is under way."""
    tree = str(Path(runner.__file__).parents[2])
    process = subprocess.Popen(
        [*before, sys.executable, "-c", textwrap.dedent(STARTER), str(toy.root)],
        env={**environment(), "PYTHONPATH": tree},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: toy.pids)
    return process


def test_it_tells_what_became_of_each_stage(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path)
    assert outcomes(toy, "settings", "split") == {"settings": "executed", "split": "executed"}
    assert outcomes(toy, "split", "train") == {"split": "unchanged", "train": "executed"}
    toy.edit("params.yaml", "rate: 0.5", "rate: 0.7")
    assert outcomes(toy, "train") == {"train": "executed"}
    toy.edit("params.yaml", "rate: 0.7", "rate: 0.5")
    assert outcomes(toy, "train") == {"train": "restored"}
    assert outcomes(toy) == {"settings": "unchanged", "split": "unchanged", "train": "unchanged", "judge": "executed"}
    toy.write({"raw.txt": "another"})
    assert outcomes(toy, "judge") == {"judge": "unchanged"}  # this stage alone, whatever stands before it


def test_lines_come_as_they_are_printed_and_a_failure_keeps_the_last(tmp_path: Path) -> None:
    stage = 'stages:\n  bad:\n    cmd: python -c "print(1); print(2); raise SystemExit(3)"\n'
    toy = Toy.make(tmp_path, pipeline=stage)
    lines = []
    with runner.started(toy.root, "bad") as run, pytest.raises(runner.DvcError) as failure:
        lines += run
    assert failure.value.code != 0
    assert [line for line in failure.value.lines if line in "12"] == ["1", "2"]
    assert "failed to reproduce 'bad'" in str(failure.value)


def test_a_progress_bar_is_one_line(tmp_path: Path) -> None:
    stage = "stages:\n  bar:\n    cmd: printf '1%%\\r50%%\\r100%%\\n'\n"
    toy = Toy.make(tmp_path, pipeline=stage)
    with runner.started(toy.root, "bar") as run:
        lines = list(run)
    assert "100%" in lines
    assert "50%" not in "".join(line for line in lines if not line.startswith(">"))


def test_an_unknown_stage_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with runner.started(Toy.make(tmp_path).root, "trian") as run, pytest.raises(runner.DvcError, match=r"trian.*train"):
        list(run)


def test_leaving_early_ends_the_stage_after_it_could_save(tmp_path: Path) -> None:
    toy = Toy.slow(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        interrupted(toy)
    assert not any(map(lives, toy.pids))
    assert (toy.root / "saved.txt").exists()


def test_a_helper_beside_the_stage_may_finish(tmp_path: Path) -> None:
    toy = Toy.slow(tmp_path, "helped")
    with pytest.raises(KeyboardInterrupt):
        interrupted(toy)
    assert (toy.root / "delivered.txt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        ["deaf"],
        pytest.param(
            ["deaf", "aside"], marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans on")
        ),
    ],
    ids=["", "in a session of its own"],
)
def test_a_stage_that_does_not_listen_is_ended_all_the_same(tmp_path: Path, how: list[str]) -> None:
    toy = Toy.slow(tmp_path, *how)
    with pytest.raises(KeyboardInterrupt):
        interrupted(toy)
    assert len(toy.pids) == 1
    assert not any(map(lives, toy.pids))


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGINT))],
    ids=lambda number: number.name,
)
def test_whoever_started_it_may_die_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    toy = Toy.slow(tmp_path)
    process = starter(toy)
    process.send_signal(number)
    process.wait()
    until(lambda: not any(map(lives, toy.pids)))
    assert (toy.root / "saved.txt").exists()


def test_a_stage_hears_signals_that_its_starter_was_told_to_ignore(tmp_path: Path) -> None:
    toy = Toy.slow(tmp_path)
    process = starter(toy, "sh", "-c", "trap '' INT TERM; exec \"$@\"", "sh")
    process.kill()
    process.wait()
    until(lambda: not any(map(lives, toy.pids)))
    assert (toy.root / "saved.txt").exists()


def test_a_dvc_that_is_killed_leaves_no_stage_behind(tmp_path: Path) -> None:
    toy = Toy.slow(tmp_path)
    process = starter(toy)
    trainer = psutil.Process(toy.pids[0])
    dvc = next(parent for parent in trainer.parents() if "dvc" in " ".join(parent.cmdline()[:4]))
    dvc.kill()
    process.wait()
    until(lambda: not any(map(lives, toy.pids)))


def test_the_same_stage_from_two_doors_runs_once(tmp_path: Path) -> None:
    toy = Toy.slow(tmp_path)
    process = starter(toy)
    lines: list[str] = []

    def second() -> None:
        with runner.started(toy.root, "slow") as run:
            for line in run:
                lines.append(line)
        lines.append(run.outcomes["slow"])

    thread = threading.Thread(target=second)
    thread.start()
    until(lambda: lines)
    assert lines == [line for line in lines if "waiting for process" in line and "repro --single-item slow" in line]
    toy.write({"go": ""})
    thread.join()
    assert process.wait() == 0
    assert lines[-1] == "unchanged"
    assert len(toy.pids) == 1


def test_a_persons_own_dvc_is_told_who_is_at_it_and_disturbs_nobody(tmp_path: Path) -> None:
    """dvc does not wait for a stage that somebody is at: it ends, with the number of who that is."""
    toy = Toy.slow(tmp_path)
    process = starter(toy)
    command = [sys.executable, "-m", "dvc", "repro"]
    second = subprocess.run(command, cwd=toy.root, env=environment(), capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert "is busy, it is being blocked by" in second.stderr
    above = {parent.pid for parent in psutil.Process(toy.pids[0]).parents()}
    assert above & {int(number) for number in re.findall(r"PID (\d+)", second.stderr)}
    toy.write({"go": ""})
    assert process.wait() == 0
    assert "didn't change" in toy.dvc("repro")
    assert len(toy.pids) == 1


@pytest.mark.slow
def test_a_lock_that_somebody_holds_as_the_stage_ends_is_waited_for(tmp_path: Path) -> None:
    """By itself dvc gives up after 3 s, and a training that is done would have failed."""
    toy = Toy.slow(tmp_path)
    process = starter(toy)
    with graph.as_it_lies(toy.root) as project, project.lock:
        toy.write({"go": ""})
        until(lambda: (toy.root / "slow.txt").exists())
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(5)
    assert process.wait() == 0
    assert "slow.txt" in toy.lock


def test_stages_that_share_nothing_run_side_by_side(tmp_path: Path) -> None:
    toy = Toy.slow(tmp_path)
    toy.write({"other/dvc.yaml": "stages:\n  quick:\n    cmd: echo quick > quick.txt\n    outs: [quick.txt]\n"})
    process = starter(toy)
    assert outcomes(toy, "other/dvc.yaml:quick") == {"other/dvc.yaml:quick": "executed"}
    assert lives(toy.pids[0])
    toy.write({"go": ""})
    assert process.wait() == 0


def test_in_a_terminal_dvc_prints_for_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    toy = Toy.make(tmp_path)
    with runner.started(toy.root, "split") as run:
        assert run.watch() == 0
    assert "Running stage 'split'" in capfd.readouterr().out
    with runner.started(toy.root, "train") as run:
        assert run.watch() != 0  # settings never ran, so what train reads is missing


def test_a_dvc_that_comes_first_is_waited_for_in_a_terminal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Between two stages of another door everything is free for a moment."""
    toy, others = Toy.slow(tmp_path), []
    is_free, await_turn = turn.is_free, turn.await_turn

    def free_a_moment_ago(root: Path) -> bool:
        free = is_free(root)
        if not others:
            others.append(starter(toy))
        return free

    def from_now_on_done_soon(root: Path, stages: list[graph.Stage]) -> Iterator[str]:
        toy.write({"go": ""})
        return await_turn(root, stages)

    monkeypatch.setattr(turn, "is_free", free_a_moment_ago)
    monkeypatch.setattr(turn, "await_turn", from_now_on_done_soon)
    with runner.started(toy.root) as run:
        assert run.watch() == 0
    assert others[0].wait() == 0
    assert "failed to reproduce 'slow'" in capfd.readouterr().out
    assert len(toy.pids) == 1


def test_a_dvc_yaml_that_cannot_be_read_is_told_by_dvc(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    toy = Toy.make(tmp_path, pipeline="stages: [")
    with runner.started(toy.root, "train") as run, pytest.raises(runner.DvcError, match=r"dvc\.yaml' is invalid"):
        list(run)
    with runner.started(toy.root) as run:
        assert run.watch() != 0
    assert "dvc.yaml' is invalid" in capfd.readouterr().out


def test_a_folder_that_is_no_project_stays_as_it_was(tmp_path: Path) -> None:
    with runner.started(tmp_path) as run, pytest.raises(runner.DvcError, match="not inside of a DVC repository"):
        list(run)
    assert not list(tmp_path.iterdir())


def test_a_damaged_book_of_who_holds_what_is_told_in_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    toy = Toy.make(tmp_path, {".dvc/tmp/rwlock": "{"})
    with runner.started(toy.root) as run:
        assert run.watch() == 1
    assert "rwlock is damaged" in capfd.readouterr().err


def test_the_python_of_a_stage_is_the_one_that_runs_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    stage = "stages:\n  which:\n    cmd: python -c 'import sys; print(sys.executable)'\n"
    toy = Toy.make(tmp_path, pipeline=stage)
    with runner.started(toy.root, "which") as run:
        printed = [line for line in run if line.startswith(os.sep)]
    assert [Path(line).resolve() for line in printed] == [Path(sys.executable).resolve()]
