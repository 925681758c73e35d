"""What `lmmodel report` says of runs that MLflow lacks: those that were made, and nothing that is not so."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import tracking
from pipelines.pages import report
from pipelines.tracking.location import database
from tests.pipelines.a_store import runs
from tests.project import TREE

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own use of SQLAlchemy

NOBODY = "http://127.0.0.1:9"
"""Nobody listens on the port of `discard`."""


@pytest.fixture
def elsewhere(finished: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose runs are in another store than its own."""
    other = finished.with_name("elsewhere.db")
    other.write_bytes(empty_database.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    monkeypatch.setenv("LMMODEL_TRACKING", "on")
    monkeypatch.setenv("PYTHONPATH", str(TREE))
    monkeypatch.setenv("COLUMNS", "200")
    return finished


def said(capsys: pytest.CaptureFixture[str]) -> str:
    report.mend()
    return capsys.readouterr().out


def test_runs_elsewhere_are_made_once_and_only_what_was_made_is_said(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "MLflow had no run of pretrain, finetune and evaluate: made from what the stages wrote."
    assert said(capsys) == f"\n  {line}\n"
    assert len(runs()) == 3
    assert said(capsys) == ""
    assert not database().exists()


def test_a_store_that_does_not_answer_is_said_in_a_line(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    told = said(capsys)
    assert told.startswith(f"\n  MLflow may lack runs, and took none: API request to {NOBODY}/api/")
    assert "made" not in told


def test_what_takes_longer_than_one_waits_for_is_no_answer(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    assert tracking.rebuild_apart(patience_seconds=0.0) is None
