"""What a run says of itself at its start: the git commit, whatever program was started, and what it was told first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.tracking.opening import opening
from tests.pipelines import a_project
from tests.project import environment

INSTALLED = """#!{python}
import json
from pipelines.tracking.opening import opening
from tests.pipelines import a_project
print(json.dumps(opening(a_project.job("pretrain"), {{}})["tags"]))
"""
"""A program as pip installs it: in a folder that git knows nothing of."""


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], env=environment(), capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def committed(finished: Path) -> Path:
    """A project under git, as it was committed."""
    git("init", "-q", "-b", "trunk")
    git("add", "params.yaml", "dvc.yaml", "dvc.lock")
    git("commit", "-q", "-m", "a project")
    return finished


def test_the_commit_is_told_when_an_installed_program_is_started(committed: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "train"
    program.parent.mkdir()
    program.write_text(INSTALLED.format(python=sys.executable))
    program.chmod(0o755)
    told = environment() | {"PYTHONPATH": str(a_project.ROOT)}
    said = subprocess.run([str(program)], env=told, capture_output=True, text=True, check=True).stdout
    tags = {key: value for key, value in json.loads(said).items() if "git" in key}
    assert tags == {
        "mlflow.source.git.commit": git("rev-parse", "HEAD"),
        "mlflow.source.git.branch": "trunk",
        "mlflow.source.git.dirty": "False",
    }


def test_what_is_not_committed_is_told_too(committed: Path) -> None:
    Path("dvc.lock").write_text(Path("dvc.lock").read_text() + "\n")
    assert opening(a_project.job("pretrain"), {})["tags"]["mlflow.source.git.dirty"] == "True"


def test_a_training_whose_earlier_result_is_gone_has_a_run(finished: Path) -> None:
    shutil.rmtree("models/pretrain")  # as dvc does before it starts the stage, while a fine-tuning of it still stands
    assert not [item for item in opening(a_project.job("pretrain"), {})["data"] if "checkpoint" in item]


def test_what_a_stage_reads_is_told_with_whose_checkpoint_it_is(finished: Path) -> None:
    made = {
        item["name"]: item["checkpoint"]
        for item in opening(a_project.job("evaluate"), {})["data"]
        if "checkpoint" in item
    }
    works = {
        f"models/{name}": {"stage": name, "identity": a_project.job(name).identity} for name in ("pretrain", "finetune")
    }
    assert made == works


def test_without_git_there_is_a_run_all_the_same(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", os.fspath(finished.parent))
    assert not [key for key in opening(a_project.job("pretrain"), {})["tags"] if "git" in key]
