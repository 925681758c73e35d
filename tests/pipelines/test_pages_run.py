"""`lmmodel run` on a small project: everything made and shown, then nothing to do, then put together again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.project import Project, Ran, until


def filled(project: Project) -> None:
    """Texts and dialogues to learn from."""
    texts = {
        f"data/raw/documents/{number:02}.txt": " ".join(
            f"word {number * place % 89} in text {number}" for place in range(99)
        )
        for number in range(20)
    }
    rows = [{"prompt": f"What is {n}?", "completion": f"It is the number {n}."} for n in range(60)]
    project.write({**texts, "data/raw/dialogues/a.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows)})


def lmmodel(project: Project, *words: str) -> Ran:
    ran = project.python("-m", "pipelines.cli", *words)
    assert ran.code == 0, ran.output
    return ran


def runs(project: Project) -> list[str]:
    """The stages that have a run in MLflow."""
    code = (
        "import json\nfrom mlflow import MlflowClient\n"
        "runs = MlflowClient('sqlite:///mlflow.db').search_runs(['1'])\n"
        "print(json.dumps(sorted(run.data.tags['lmmodel.stage'] + ' ' + run.info.status for run in runs)))"
    )
    return list(json.loads(project.python("-W", "ignore", "-c", code).output.splitlines()[-1]))


def test_a_clone_whose_results_are_those_of_its_lock_is_shown_them(reproduced: Project, tmp_path: Path) -> None:
    project = reproduced.copy(tmp_path / "clone")
    for top in ("models", "data"):
        for path in (project.root / top).iterdir():
            if path.name not in ("raw", ".gitignore"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    locked = project.read("dvc.lock")
    ran = lmmodel(project, "run")
    assert project.read("dvc.lock") == locked
    assert "everything is up to date" in ran.output
    assert "fine-tuned" in ran.output
    assert "No model stands here" not in ran.output


@pytest.mark.slow
def test_one_command_makes_everything_shows_it_and_can_be_typed_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMMODEL_TRACKING", "on")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    filled(project)
    first = lmmodel(project, "run")
    assert first.output.startswith("params.yaml is sound. Nothing was made yet. About ")
    assert len(first.stages) == 8
    assert "everything is up to date" in first.output
    assert "fine-tuned" in first.output
    finished = ["evaluate FINISHED", "finetune FINISHED", "pretrain FINISHED"]
    until(lambda: runs(project) == finished, "what was noted last to be carried to MLflow")

    again = lmmodel(project, "run")
    assert again.stages == []
    assert "everything is up to date" in again.output
    assert "MLflow had no run" not in again.output

    (project.root / "mlflow.db").unlink()
    assert "MLflow had no run of pretrain, finetune and evaluate" in lmmodel(project, "report").output
    until(lambda: runs(project) == finished, "the runs to be made again")

    project.edit("params.yaml", "seed: 1", "seed: 2")
    plan = lmmodel(project, "plan").output
    assert "pretrain.seed was 1 and is 2 now" in plan
    assert "as the last time" in plan
    asked = lmmodel(project, "generate", "--chat", "--prompt", "What is 7?", "--tokens", "8", "--seed", "1")
    assert asked.output.strip()
