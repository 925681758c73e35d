"""Fixtures that more than one package's tests use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project import STAGES, Project, raw


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """This project's tree in a folder of its own, on the tiny parameters, with text to read; nothing ran yet."""
    return Project.make(tmp_path / "project", raw())


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Such a project after `dvc repro`, made once. Never changed: work on `reproduced.copy(folder)`."""
    project = Project.make(tmp_path_factory.mktemp("reproduced") / "project", raw())
    assert project.repro().stages == list(STAGES)
    return project
