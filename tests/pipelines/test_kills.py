"""The whole pipeline, killed at random moments and taken up again, and run by `dvc exp` somewhere else."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from pipelines.dagster_dvc import runcache, runner, turn
from tests.project import STAGES, Project, kill

pytestmark = pytest.mark.slow


def mend(project: Project) -> None:
    """A kill may cut short what dvc writes in place, once in some dozens: then the runner or the doctor mends it."""
    ran = project.dvc("status")
    if ran.code and "dvc.lock" in ran.output:
        with runner.started(project.root, "design") as run:
            assert any("dvc.lock was cut short" in line for line in run)
    if _is_torn(project) or runcache.vacant(project.root):
        assert project.python("-m", "pipelines.cli", "doctor", "--fix").code == 0
        assert turn.entered(project.root) == runcache.vacant(project.root) == []


def _is_torn(project: Project) -> bool:
    """Of dvc's book of who works on what."""
    try:
        turn.entered(project.root)
    except turn.BookError:
        return True
    return False


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_anywhere_and_taken_up_it_ends_in_the_same_bytes(reproduced: Project, tmp_path: Path, seed: int) -> None:
    project = reproduced.clone(tmp_path / "project")
    chance = random.Random(seed)
    for _ in range(6):
        process = project.start("dvc", "repro")
        time.sleep(chance.uniform(1, 12))
        kill(process)
    mend(project)
    project.repro()
    assert project.outputs() == reproduced.outputs()
    assert project.read("dvc.lock") == reproduced.read("dvc.lock")
    assert project.repro().stages == []


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.999])
def test_a_lock_file_that_was_cut_short_costs_nothing(reproduced: Project, tmp_path: Path, share: float) -> None:
    project = reproduced.copy(tmp_path / "project")
    whole = project.read("dvc.lock")
    project.write({"dvc.lock": whole[: int(share * len(whole))]})
    ran = project.python("-m", "pipelines.cli", "run")
    assert ran.code == 0, ran.output
    assert ran.stages == []
    assert project.read("dvc.lock") == whole
    assert project.outputs() == reproduced.outputs()


def test_an_experiment_in_a_clone_runs_the_clones_code(reproduced: Project, tmp_path: Path) -> None:
    """Stages are started with -m, so the code of the experiment's own tree runs, whatever is installed."""
    project = reproduced.copy(tmp_path / "project")
    for command in (["add", "-A"], ["commit", "-q", "-m", "results"]):
        assert project.run("git", *command).code == 0
    ran = project.dvc("exp", "run", "--temp", "--name", "other", "-S", "evaluate.examples_per_task=3")
    assert ran.code == 0, ran.output
    assert ran.stages == ["design", "evaluate"]
    assert project.repro().stages == []  # nothing of it reached the project's own tree
    assert project.dvc("exp", "apply", "other").code == 0
    assert project.repro().stages == []
    assert "examples_per_task: 3" in project.read("params.yaml")


def test_every_stage_can_be_started_by_hand(reproduced: Project, tmp_path: Path) -> None:
    project = reproduced.copy(tmp_path / "project")
    for stage in STAGES:
        ran = project.python("-m", f"pipelines.{stage}")
        assert ran.code == 0, ran.output
    assert project.outputs() == reproduced.outputs()
    assert project.repro().stages == []
