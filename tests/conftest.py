"""Fixtures that more than one package's tests use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project import Project, raw


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """This project's tree in a folder of its own, on the tiny parameters, with text to read; nothing ran yet."""
    return Project.make(tmp_path / "project", raw())
