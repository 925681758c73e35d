"""Runs on a team's server: a real PostgreSQL, MLflow's server in front of it, and what stages make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines import a_server
from tests.pipelines.a_server import Server
from tests.project import Project, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(a_server.lacking()), reason=a_server.lacking()),
]

LEADERBOARD = """
import json
from mlflow import MlflowClient
from pipelines.tracking.store import Store
store = Store()
[experiment] = [one for one in store.client.search_experiments() if one.name == "lmmodel"]
view = json.loads(experiment.tags["mlflow.sharedViewState.leaderboard"])
found = store.client.search_runs(
    [experiment.experiment_id], view["searchFilter"], order_by=[view["orderByKey"] + " ASC"]
)
columns = [name.split("`")[1] for name in view["selectedColumns"]]
rows = [[{**run.data.params, **run.data.metrics}.get(name) for name in columns] for run in found]
told = {key: value for key, value in experiment.tags.items() if "experiment" in key or "View" in key}
names = [run.info.run_name for run in found]
print("table", json.dumps({"columns": columns, "rows": rows, "tags": told, "names": names}))
"""
LOAD = """
import mlflow
model = mlflow.pyfunc.load_model("models:/lmmodel@champion")
print("said", model.predict(["Return a"], params={"tokens": 4, "temperature": 0.0}))
"""
ON_A_CLOCK = "tokens_per_second"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server.database() as store, a_server.serving(tmp_path_factory.mktemp("server"), store) as made:
        yield made


def leaderboard(project: Project) -> dict[str, Any]:
    """What the view of that name shows, as MLflow's page would ask for it."""
    told = project.python("-c", LEADERBOARD)
    assert told.code == 0, told.output
    table: dict[str, Any] = json.loads(told.output.partition("table ")[2].splitlines()[0])
    clock = table["columns"].index(ON_A_CLOCK)
    for row in (table["columns"], *table["rows"]):
        del row[clock]
    return table


def carried(project: Project) -> None:
    """Until nothing that stages noted waits any more."""
    until(lambda: not list(project.root.glob(".lmmodel/tracking/[0-9]*")), "the runs to arrive", seconds=300)


def test_stages_write_to_it_the_champion_is_crowned_there_and_the_table_is_the_local_one(
    server: Server, reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = reproduced.copy(tmp_path / "project")
    monkeypatch.setenv("LMMODEL_TRACKING", "on")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    for seed in (2, 3):
        project.write({"params.yaml": project.read("params.yaml").replace(f"seed: {seed - 1}\n", f"seed: {seed}\n", 1)})
        assert project.repro().stages == ["design", "pretrain", "finetune", "evaluate"]
        carried(project)
    assert not (project.root / "mlflow.db").exists()
    shared = leaderboard(project)
    seeds = [row[shared["columns"].index("seed")] for row in shared["rows"]]
    assert sorted(seeds) == ["2", "3"]
    losses = [row[0] for row in shared["rows"]]
    assert losses == sorted(losses)
    assert list(server.artifacts.rglob("report.md"))

    elsewhere = project.copy(tmp_path / "elsewhere")
    project.root.rename(tmp_path / "moved")
    loaded = elsewhere.python("-c", LOAD)
    assert loaded.code == 0, loaded.output
    assert "said [" in loaded.output

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for seed in (3, 2):
        elsewhere.write({"params.yaml": elsewhere.read("params.yaml").replace("seed: 3\n", f"seed: {seed}\n", 1)})
        assert "Running stage 'pretrain'" not in elsewhere.repro().output
        assert elsewhere.python("-c", "from pipelines import tracking; print(tracking.rebuild())").code == 0
    assert leaderboard(elsewhere) == shared
