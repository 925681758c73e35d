"""`dagster dev` as a person sees it: the graph, a run of everything, the curve, and what an edit in a terminal does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import served
from tests.project import STAGES, Project, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

ASSETS = """{ assetNodes { assetKey { path } staleStatus assetMaterializations(limit: 1) { timestamp }
    assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } } } }"""


def assets(page: Page) -> dict[str, Any]:
    """What the server answers when the page asks how each asset stands; asked once a second."""
    page.wait_for_timeout(1000)
    nodes = page.evaluate(
        """async query => (await (await fetch("/graphql", {method: "POST", headers: {"Content-Type":
        "application/json"}, body: JSON.stringify({query})})).json()).data.assetNodes""",
        ASSETS,
    )
    return {node["assetKey"]["path"][0]: node for node in nodes}


def unsynced(page: Page) -> set[str]:
    return {name for name, node in assets(page).items() if node["staleStatus"] == "STALE"}


def made(page: Page) -> set[str]:
    return {name for name, node in assets(page).items() if node["assetMaterializations"]}


def checked(page: Page) -> dict[str, str]:
    """How each check of each asset came out."""
    checks = [(name, one) for name, node in assets(page).items() for one in node["assetChecksOrError"]["checks"]]
    executions = {f"{name}.{one['name']}": one["executionForLatestMaterialization"] for name, one in checks}
    return {name: execution and execution["status"] for name, execution in executions.items()}


def test_everything_is_made_checked_and_shown_and_a_change_marks_what_it_touches(
    project: Project, page: Page, keep: Callable[[str], None], tmp_path: Path
) -> None:
    with served(project, sys.executable, "-m", "dagster", "dev", log=tmp_path / "dagster.log") as address:
        page.goto(f"{address}/asset-groups")
        page.get_by_role("button", name="Materialize all").click()
        page.get_by_text("Launched run").wait_for()
        until(lambda: made(page) == set(STAGES), "every stage to be made", 300)
        until(lambda: set(checked(page).values()) == {"SUCCEEDED"}, "all checks to have passed", 60)
        assert {name.partition(".")[0] for name in checked(page)} == set(STAGES) - {"design"}
        assert unsynced(page) == set()
        page.set_viewport_size({"width": 2000, "height": 900})  # in which the boxes have room for their checks
        page.goto(f"{address}/asset-groups")
        page.wait_for_timeout(5000)  # the graph is drawn on a canvas: nothing in the page says when
        keep("dagster-graph")
        page.set_viewport_size({"width": 1400, "height": 800})
        page.goto(f"{address}/assets/pretrain")
        lines = project.read("params.yaml").splitlines()
        page.locator(f"a[href$='params.yaml:{lines.index('pretrain:') + 1}']").wait_for()  # which an editor opens
        page.get_by_text("[Show Markdown]").first.click()
        page.locator("img[src^='data:image/png']").wait_for()
        page.wait_for_timeout(2000)  # the dialog fades in
        keep("dagster-curve")
        project.edit("params.yaml", "examples_per_task: 4", "examples_per_task: 3")
        until(lambda: unsynced(page) == {"design", "evaluate"}, "design and evaluate to be unsynced", 120)
        page.goto(f"{address}/assets/evaluate")
        page.get_by_text("Unsynced").first.wait_for()
        keep("dagster-unsynced")
