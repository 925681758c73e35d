"""`mlflow ui` as a person sees it: the candidates as a table, two of them chosen and compared."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import served
from tests.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_two_candidates_are_chosen_and_compared(
    reproduced: Project,
    page: Page,
    keep: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LMMODEL_TRACKING", "on")
    project = reproduced.copy(tmp_path / "project")
    assert project.python("-m", "pipelines.cli", "report").code == 0  # has MLflow told what was made without it
    project.edit("params.yaml", "depth: 2", "depth: 1")
    project.repro()
    command = (sys.executable, "-m", "mlflow", "ui", "--workers", "1")
    with served(project, *command, log=tmp_path / "mlflow.log") as address:
        page.goto(f"{address}/#/experiments/1/runs?viewStateShareKey=leaderboard")
        rows = page.locator(".ag-row input[type=checkbox][aria-label*='row selection']")
        rows.nth(1).wait_for()
        assert rows.count() == 2
        keep("mlflow-leaderboard")
        for number in range(2):
            rows.nth(number).check(force=True)
        page.get_by_test_id("runs-compare-button").click()
        page.get_by_text(re.compile("Comparing 2 Runs")).first.wait_for()
        keep("mlflow-comparison")
        differing = page.get_by_text(re.compile(r"model\.depth"))
        differing.first.wait_for()
