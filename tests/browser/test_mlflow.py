"""`mlflow ui` as a person sees it: the candidates as a table, two of them compared, their curves, their checkpoints."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.tracking import links
from tests.browser.conftest import served
from tests.project import Project, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

SETTLED = """
localStorage.setItem("mlflow.workflowType_v1", '"machine_learning"');
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""
"""A browser in which somebody has closed MLflow's assistant, which opens by itself once."""

CURVES = """[...document.querySelectorAll(".js-plotly-plot")].map(plot => new Set(plot.data
    .filter(line => line.type.startsWith("scatter") && line.x.length > 1).map(line => line.name)).size)"""
"""Of each plot that is seen: how many runs have a curve in it."""


@pytest.fixture(scope="module")
def two(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has trained a second design."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LMMODEL_TRACKING", "on")
        project = reproduced.copy(tmp_path_factory.mktemp("two") / "project")
        told = project.python("-c", "from pipelines import tracking; print(tracking.rebuild())")  # made without MLflow
        assert told.code == 0, told.output
        project.edit("params.yaml", "depth: 2", "depth: 1")
        project.repro()
        until(lambda: not list(project.root.glob(".lmmodel/tracking/[0-9]*")), "the runs to arrive", seconds=300)
    return project


def test_candidates_and_their_checkpoints_are_listed_chosen_and_compared(
    two: Project, page: Page, keep: Callable[[str], None], tmp_path: Path
) -> None:
    page.add_init_script(SETTLED)
    command = (sys.executable, "-m", "mlflow", "ui", "--workers", "1")
    with served(two, *command, log=tmp_path / "mlflow.log") as address:
        leaderboard = links.candidates(two.root).replace(links.LOCAL, address)
        page.goto(leaderboard)
        rows = page.locator(".ag-row input[type=checkbox][aria-label*='row selection']")
        rows.nth(1).wait_for()
        assert rows.count() == 2
        page.get_by_label("Hide banner").click()
        keep("mlflow-leaderboard")

        for number in range(2):
            rows.nth(number).check(force=True)
        page.get_by_test_id("runs-compare-button").click()
        page.get_by_text(re.compile("Comparing 2 Runs")).first.wait_for()
        only_differing = page.get_by_label("Parameters - Show diff only")
        parameters = only_differing.locator("xpath=../..").locator("th")
        parameters.get_by_text("model.width", exact=True).wait_for()
        only_differing.click()
        parameters.get_by_text("model.width", exact=True).wait_for(state="detached")
        assert "model.depth" in parameters.all_inner_texts()
        page.locator(".parcoords .axis").nth(1).wait_for()

        page.goto(f"{leaderboard}&compareRunsMode=CHART")
        page.get_by_placeholder("Search metric charts").fill("^loss|^validation")
        page.wait_for_function(f"{CURVES}.filter(runs => runs === 2).length >= 2")  # of training and of validation
        page.wait_for_timeout(1000)  # in which they are drawn
        keep("mlflow-comparison")

        page.set_viewport_size({"width": 2000, "height": 500})  # in which there is room for what they came to
        page.goto(f"{address}/#/experiments/1/models?workflowType=machine_learning")
        page.get_by_text(re.compile(r"^finetune \w{8}$")).nth(1).wait_for()
        assert page.get_by_text(re.compile(r"^pretrain \w{8}$")).count() == 2
        page.locator("a").filter(has_text="v1").wait_for()  # the champion is one of them
        page.get_by_text("validation_bits_per_byte").first.wait_for()
        keep("mlflow-models")
