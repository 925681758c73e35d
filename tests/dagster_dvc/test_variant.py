from __future__ import annotations

import subprocess
from pathlib import Path

import dagster as dg
import pytest

from pipelines.dagster_dvc import variant
from tests.dagster_dvc.toy import Toy


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A toy that git knows."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@localhost")
    toy = Toy.make(tmp_path, {".gitignore": "/data\n/models\n/scores.json\n", ".dvc/.gitignore": "/tmp\n/cache\n"})
    toy.write({".dvc/config": "[core]\nanalytics = false\n"})
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "toy"]):
        subprocess.run(["git", *command], cwd=toy.root, check=True)
    return toy


def launch(toy: Toy, changes: list[str], name: str = "") -> dg.ExecuteInProcessResult:
    """As from the launchpad."""
    config = {"ops": {"variant_experiment": {"config": {"changes": changes, "name": name}}}}
    result: dg.ExecuteInProcessResult = variant.job(toy.root).execute_in_process(
        run_config=config, raise_on_error=False
    )
    return result


def test_a_variant_is_an_experiment_and_the_files_stay_as_they_are(toy: Toy) -> None:
    before = (toy.root / "params.yaml").read_text()
    result = launch(toy, ["rate=0.7"], "faster")
    assert result.success
    assert result.output_for_node("variant_experiment") == "faster"
    (output,) = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    shown = output.step_output_data.metadata
    assert shown["rate"].value == "0.7"
    assert "| loss | 0.25 |" in str(shown["metrics"].value)
    assert (toy.root / "params.yaml").read_text() == before
    assert not (toy.root / "scores.json").exists()
    assert "faster" in toy.dvc("exp", "show", "--csv")


def test_a_variant_that_fails_says_why(toy: Toy) -> None:
    result = launch(toy, ["no.such.key=1"])
    assert not result.success
    assert "no" in str(result.failure_data_for_node("variant_experiment"))
