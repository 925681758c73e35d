from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from pipelines.dagster_dvc import live, places, runner
from pipelines.dagster_dvc.graph import as_it_lies
from tests.dagster_dvc.dagster_says import materialize, unsynced
from tests.dagster_dvc.toy import Toy

GROWING = """
import sys, time
for step in range(1, 5):
    with open("loss.csv", "a") as file:
        file.write("step,note,loss\\n" * (step == 1) + f"{step},x,{1 / step}\\n")
    sys.stderr.write(f"\\rlearn: {25 * step}%")
    sys.stderr.flush()
    time.sleep(0.5)
"""
PIPELINE = """
stages:
  learn:
    cmd: python grow.py
    deps: [grow.py]
    plots: [loss.csv]
"""


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy.make(tmp_path, {"grow.py": GROWING}, pipeline=PIPELINE)


def test_a_running_stage_is_a_curve_on_its_asset_and_its_bar_a_line_of_the_log(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PULSE_SECONDS", 0.1)
    monkeypatch.setattr(runner, "REDRAW_SECONDS", 0.3)
    monkeypatch.setattr(live, "SECONDS", 0.0)
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(toy, instance)
        seen = instance.fetch_observations(dg.AssetKey("learn"), limit=20, ascending=True).records
        logged = [entry.user_message for entry in instance.all_logs(result.run_id)]
        points = [entry.asset_observation.metadata for entry in seen if entry.asset_observation]
        assert unsynced(toy, instance) == set()
    steps = [point["step"].value for point in points]
    assert steps == sorted(set(steps))
    assert len(steps) > 1
    assert all(point["loss"].value == 1 / point["step"].value for point in points)
    assert {name for point in points for name in point} == {"step", "loss"}
    assert any(line.startswith("learn: ") and line.endswith("%") for line in logged)


def test_numbers_are_told_no_faster_than_they_may_and_none_is_told_twice() -> None:
    news = iter([{"loss": 2.0}, {"loss": 1.0, "bad": float("nan")}, {}])
    pace = live.Live(dg.AssetKey("learn"), lambda: next(news), seconds=3600)
    (first,) = pace.observations()
    assert first.metadata == {"loss": dg.MetadataValue.float(2.0)}
    assert list(pace.observations()) == []
    pace = live.Live(dg.AssetKey("learn"), lambda: next(news), seconds=0)
    (second,) = pace.observations()
    assert second.metadata == {"loss": dg.MetadataValue.float(1.0)}
    assert list(pace.observations()) == []


def test_rows_of_an_earlier_run_and_rows_half_written_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "loss.tsv"
    path.write_text("step\tloss\n1\t9\n")
    rows = live.Rows([path, tmp_path / "missing.csv"])
    assert rows() == {}
    path.unlink()
    assert rows() == {}
    path.write_text("step\tloss\n1\t2\n2\t1.")
    assert rows() == {"step": 1, "loss": 2}
    assert rows() == {}
    with path.open("a") as file:
        file.write("5\n")
    assert rows() == {"step": 2, "loss": 1.5}


def test_an_asset_names_the_lines_where_a_person_would_change_it(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path)
    with as_it_lies(toy.root) as project:
        (train,) = (stage for stage in project.stages if stage.name == "train")
    found = [(place.file.name, place.line, place.label) for place in places.of(toy.root, train)]
    declared = (toy.root / "dvc.yaml").read_text().splitlines().index("  train:") + 1
    assert found == [("dvc.yaml", declared, "dvc.yaml: stages.train"), ("params.yaml", 1, "params.yaml: rate")]
    assert places.lines(toy.root / "raw.txt", ["rate"]) == []
    toy.write({"params.yaml": "rate: ["})
    assert places.lines(toy.root / "params.yaml", ["rate"]) == []
