"""Fixtures that more than one package's tests use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from tests.project import STAGES, Project, raw

if TYPE_CHECKING:
    from lmmodel.architecture.declaration import Declaration


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


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """torch.compile as in a new process: it knows modules by their names, and gives up after eight of one name."""
    import torch

    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Declaration]:
    """Writes experiments/part.py in a folder of its own, and gives the declaration of a design with it."""
    from tests.architecture import properties

    monkeypatch.chdir(tmp_path)

    def write(source: str, part: str = "attention", name: str = "part") -> Declaration:
        Path("experiments").mkdir(exist_ok=True)
        Path(f"experiments/{name}.py").write_text(dedent(source), encoding="utf-8")
        return properties.declared(f"{{{part}: experiments/{name}.py}}")

    return write
