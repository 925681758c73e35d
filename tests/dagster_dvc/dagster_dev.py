"""A real `dagster dev` on a toy, spoken to as its own page does: over HTTP, in GraphQL."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.dagster_dvc.test_runner import until
from tests.dagster_dvc.toy import Toy, environment

TREE = Path(__file__).resolve().parents[2]
DEFINITIONS = """
from pathlib import Path
import dagster as dg
from pipelines.dagster_dvc import assets, sensor
sensor.SECONDS = 1
defs = dg.Definitions(
    assets=assets.load(Path(__file__).parent),
    sensors=[sensor.watch(Path(__file__).parent)],
    jobs=[assets.in_parallel()],
    executor=dg.in_process_executor,
)
"""


def prepared(toy: Toy) -> Toy:
    """The toy with what Dagster needs."""
    toy.write({"definitions.py": DEFINITIONS, "dagster.yaml": (TREE / "dagster.yaml").read_text()})
    return toy


def dagster(toy: Toy, *arguments: str) -> subprocess.Popen[bytes]:
    """A dagster command under way, in a process group of its own."""
    quiet = {"PYTHONPATH": str(TREE), "DAGSTER_HOME": "", "DAGSTER_DISABLE_TELEMETRY": "1", "PYTHONWARNINGS": "ignore"}
    with (toy.root / "dagster.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dagster", *arguments, "-f", "definitions.py"],
            cwd=toy.root,
            env={**environment(), **quiet},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@dataclass(frozen=True)
class Page:
    """What its page asks of `dagster dev`."""

    port: int
    pause_seconds: float = 0.5

    def ask(self, query: str, **variables: Any) -> Any:
        """A question in GraphQL. Takes its time: what is asked without a pause keeps two cores from all else."""
        time.sleep(self.pause_seconds)
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        return said["data"]

    def unsynced(self) -> set[str]:
        """The assets that it draws as stale or as never made."""
        nodes = self.ask("{ assetNodes { assetKey { path } staleStatus } }")["assetNodes"]
        return {"/".join(node["assetKey"]["path"]) for node in nodes if node["staleStatus"] != "FRESH"}

    def materialize(self, *keys: str) -> str:
        """As the button does; gives the run."""
        return self.launch("__ASSET_JOB", *keys)

    def launch(self, job: str, *keys: str) -> str:
        """A job, some of its assets; gives the run."""
        chosen = {"assetSelection": [{"path": key.split("/")} for key in keys]}
        selector = {**self._repository, "pipelineName": job, **chosen}
        answer = self.ask(
            "mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params)"
            " { __typename ... on LaunchRunSuccess { run { runId } } } }",
            params={"selector": selector, "mode": "default", "runConfigData": "{}"},
        )["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def ticks(self, sensor: str) -> list[str]:
        """What a sensor said of late, where it had nothing to report."""
        asked = (
            "query($it: SensorSelector!) { sensorOrError(sensorSelector: $it)"
            " { ... on Sensor { sensorState { ticks(limit: 20) { skipReason } } } } }"
        )
        answer = self.ask(asked, it={**self._repository, "sensorName": sensor})["sensorOrError"]
        return [str(tick["skipReason"]) for tick in answer["sensorState"]["ticks"]]

    @property
    def _repository(self) -> dict[str, str]:
        (node,) = self.ask(
            "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
        )["repositoriesOrError"]["nodes"]
        return {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}

    def stop(self, run: str) -> None:
        """As the button does."""
        self.ask("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run)

    def status(self, run: str) -> str:
        """Of a run: STARTED, SUCCESS, CANCELED, ..."""
        asked = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        return str(self.ask(asked, id=run)["runOrError"]["status"])

    def tags(self, run: str) -> dict[str, str]:
        """Of a run."""
        asked = "query($id: ID!) { runOrError(runId: $id) { ... on Run { tags { key value } } } }"
        return {tag["key"]: tag["value"] for tag in self.ask(asked, id=run)["runOrError"]["tags"]}

    def started_again(self, run: str) -> list[str]:
        """How the runs stand that Dagster started in place of one that failed."""
        asked = "query($it: RunsFilter!) { runsOrError(filter: $it) { ... on Runs { results { status } } } }"
        it = {"tags": [{"key": "dagster/parent_run_id", "value": run}]}
        return [str(one["status"]) for one in self.ask(asked, it=it)["runsOrError"]["results"]]


@contextmanager
def served(toy: Toy) -> Iterator[Page]:
    """`dagster dev` without DAGSTER_HOME, until the block is left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = dagster(toy, "dev", "-h", "127.0.0.1", "-p", str(port))
    page = Page(port)

    def is_ready() -> bool:
        assert process.poll() is None, (toy.root / "dagster.log").read_text()
        try:
            return bool(page.ask("{ assetNodes { assetKey { path } } }")["assetNodes"])
        except OSError:
            return False

    try:
        until(is_ready, seconds=120)
        yield page
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
