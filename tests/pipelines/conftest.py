"""Small projects with results in them, made once and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.tracking.location import database, uri
from tests.pipelines import a_project
from tests.pipelines.small import small
from tests.project import Project


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished") / "project"
    a_project.build(root)
    return root


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose stages have all run; the test runs in it."""
    root = tmp_path / "project"
    shutil.copytree(finished_once, root, symlinks=True)
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return root


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of three stages that all ran for real. Never changed: work on a copy."""
    project = small(tmp_path_factory.mktemp("made") / "project")
    project.repro()
    return project


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, made once: that alone takes seconds."""
    from mlflow import MlflowClient

    root = tmp_path_factory.mktemp("store")
    MlflowClient(uri(root)).search_experiments()
    return database(root)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> Path:
    """A folder with a store of its own, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    database(tmp_path).write_bytes(empty_database.read_bytes())
    return tmp_path
