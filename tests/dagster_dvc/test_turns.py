"""Runs that were started at the same time: trainings one after the other, the rest beside them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.dagster_dvc.dagster_dev import prepared, served
from tests.dagster_dvc.test_runner import until
from tests.dagster_dvc.toy import Toy

STAGE = """
  {0}:
    cmd:
      - touch {0}.began
      - while ! test -e go; do sleep 0.05; done; echo {0} > {0}.txt
    outs: [{0}.txt]
"""
POOL = "    meta: {dagster: {pool: device}}\n"


@pytest.mark.slow
def test_one_training_at_a_time_and_what_is_none_beside_it(tmp_path: Path) -> None:
    stages = STAGE.format("one") + POOL + STAGE.format("two") + POOL + STAGE.format("aside") + STAGE.format("beside")
    toy = prepared(Toy.make(tmp_path, pipeline=f"stages:{stages}"))

    def began() -> set[str]:
        return {path.stem for path in toy.root.glob("*.began")}

    with served(toy) as page:
        runs = [*(page.materialize(name) for name in ("one", "two")), page.launch("everything", "aside", "beside")]
        until(lambda: {"aside", "beside"} < began())
        time.sleep(3)  # in which the second training would have begun
        assert began() in ({"aside", "beside", "one"}, {"aside", "beside", "two"})
        toy.write({"go": ""})
        until(lambda: {page.status(run) for run in runs} == {"SUCCESS"}, seconds=90)
    assert began() == {"one", "two", "aside", "beside"}
