"""Four that come to a store at the same moment, which nobody has been to before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.pipelines import a_server
from tests.pipelines.a_store import runs, steps_of

ROOT = Path(__file__).resolve().parents[2]
NAMES = "abcd"
MEETING = """
import sys, time
from pathlib import Path
import mlflow
from mlflow.tracking import MlflowClient
from pipelines.tracking.delivery import deliver_abandoned
from pipelines.tracking.notes import place
from tests.pipelines.a_store import noted
name, others = sys.argv[1], Path(sys.argv[2])
noted(name, steps=range(3))
(others / f"ready-{name}").touch()
while len(list(others.glob("ready-*"))) < 4:
    time.sleep(0.001)
deliver_abandoned(place())
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # MLflow's own use of SQLAlchemy
]


@pytest.fixture(autouse=True)
def by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with nothing in it, and the tree's own code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # what is said then is what went wrong


def meet(folders: Sequence[Path], at: Path) -> list[str]:
    """What each said that carried its notes to the store, all four at once, each in its folder."""
    command = [sys.executable, "-c", MEETING]
    started = [
        subprocess.Popen([*command, name, str(at)], cwd=folder, stdout=subprocess.PIPE, text=True)
        for name, folder in zip(NAMES, folders, strict=True)
    ]
    return [process.communicate(timeout=300)[0] for process in started]


def test_four_processes_of_a_project_make_its_database_once(tmp_path: Path) -> None:
    assert meet([tmp_path] * 4, tmp_path) == [""] * 4
    assert sorted(run.data.tags["lmmodel.identity"] for run in runs()) == list(NAMES)


def test_four_projects_at_a_fresh_server_make_one_experiment_with_the_run_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    projects = [tmp_path / f"project-{name}" for name in NAMES]
    for folder in projects:
        folder.mkdir()
    with a_server.serving(tmp_path / "server", f"sqlite:///{tmp_path / 'server.db'}") as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        assert meet(projects, tmp_path) == [""] * 4
        named = [one.name for one in MlflowClient(server.address).search_experiments()]
        assert sorted(named) == ["Default", "lmmodel"]
        assert {run.data.tags["lmmodel.identity"]: steps_of(run, "loss_nats") for run in runs()} == {
            name: [0, 1, 2] for name in NAMES
        }
        assert len(runs()) == 4
