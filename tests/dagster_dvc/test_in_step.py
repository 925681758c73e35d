"""What the page calls unsynced is what ``dvc status`` calls changed, while somebody works in a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.dagster_dvc.dagster_dev import Page, prepared, served
from tests.dagster_dvc.test_runner import until
from tests.dagster_dvc.toy import Toy

TICK_SECONDS = (
    30  # one look of the sensor (the daemon takes 5 s from one to the next), and the definitions loaded again
)


def changed(toy: Toy) -> set[str]:
    """The stages that dvc would not call up to date."""
    return set(json.loads(toy.dvc("status", "--json")))


def stages(page: Page) -> set[str]:
    """The stages of the assets that the page calls unsynced."""
    return {key.split("/")[0] for key in page.unsynced()}


@pytest.mark.slow
def test_edits_runs_and_reverts_in_a_terminal_show_within_a_tick(tmp_path: Path) -> None:
    toy = prepared(Toy.make(tmp_path))
    toy.dvc("repro")
    with served(toy) as page:

        def agrees(expected: set[str]) -> None:
            assert changed(toy) == expected
            until(lambda: stages(page) == expected, seconds=TICK_SECONDS)

        agrees(set())
        toy.edit("params.yaml", "rate: 0.5", "rate: 0.7")
        agrees({"train"})
        toy.dvc("repro")
        agrees(set())
        toy.edit("step.py", "import json, os", "import json, math, os")
        (toy.root / "scores.json").unlink()
        agrees({"settings", "judge"})
        toy.edit("step.py", "import json, math, os", "import json, os")
        toy.edit("params.yaml", "rate: 0.7", "rate: 0.5")
        toy.dvc("repro")
        agrees(set())
        toy.edit("data/left.txt", "left", "other")
        agrees({"split", "train"})
        run = page.materialize("split/data/left.txt", "split/data/right.txt")
        until(lambda: page.status(run) == "SUCCESS")
        agrees(set())
