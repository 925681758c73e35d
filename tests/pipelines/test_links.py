"""The addresses that pages and Dagster give of what MLflow shows: of the server and the experiment that are meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import parameters, standing, tracking
from pipelines.pages import report
from pipelines.tracking import links, past
from pipelines.tracking.delivery import deliver_abandoned
from pipelines.tracking.notes import place
from pipelines.tracking.onlooking import identity
from pipelines.tracking.store import Store
from tests.pipelines.a_store import noted, with_database

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own use of SQLAlchemy

TABLE = "runs?viewStateShareKey=leaderboard&workflowType=machine_learning"


def test_each_experiment_of_the_projects_own_database_has_its_number(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert links.candidates() == "http://127.0.0.1:5000"
    Store()
    assert links.candidates() == f"http://127.0.0.1:5000/#/experiments/1/{TABLE}"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    assert links.candidates() == "http://127.0.0.1:5000"
    Store()
    assert links.candidates() == f"http://127.0.0.1:5000/#/experiments/2/{TABLE}"


def test_the_database_is_found_wherever_the_project_lies(tmp_path: Path, empty_database: Path) -> None:
    root = tmp_path / "what? #1 of 100%"
    root.mkdir()
    with_database(root, empty_database)
    assert past.rows("SELECT name FROM experiments", root=root) == [("Default",)]


def test_a_run_is_that_of_the_experiment(finished: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_database(finished, empty_database)
    work = identity("pretrain")
    noted(work, steps=range(1))
    deliver_abandoned(place())
    assert str(tracking.address("pretrain")).startswith("http://127.0.0.1:5000/#/experiments/1/runs/")
    assert "pretrain" not in tracking.missing()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    Store()
    assert str(tracking.address("pretrain")).startswith("http://127.0.0.1:5000/#/experiments/2/runs?searchFilter=")
    assert "pretrain" in tracking.missing()


def test_a_store_elsewhere_is_known_by_what_was_met_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}?timeout=9")
    assert links.candidates() == "http://127.0.0.1:5000"
    Store()
    assert links.candidates() == f"http://127.0.0.1:5000/#/experiments/1/{TABLE}"
    assert links.command() == 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    assert links.candidates() == "http://127.0.0.1:5000"


def test_of_a_server_nothing_has_to_be_started_and_no_password_is_shown(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@mlflow.example:8000/")
    page = "\n".join(report.page(standing.survey(parameters.read())))
    assert page.count("http://mlflow.example:8000\n") == 1
    assert "mlflow ui" not in page
    place().mkdir(parents=True)
    links.met("7")
    page = "\n".join(report.page(standing.survey(parameters.read())))
    assert f"http://mlflow.example:8000/#/experiments/7/{TABLE}\n" in page
    assert "secret" not in page + (place() / "experiment.json").read_text()
