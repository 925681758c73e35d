"""Stopping a Dagster run stops the training with it: through real processes, as a person would."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.dagster_dvc.test_runner import lives, until
from tests.dagster_dvc.toy import Toy, environment

TREE = Path(__file__).resolve().parents[2]
DEFINITIONS = """
from pathlib import Path
import dagster as dg
from pipelines.dagster_dvc import assets
defs = dg.Definitions(assets=assets.load(Path(__file__).parent), executor=dg.in_process_executor)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    toy = Toy.slow(tmp_path)
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


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)], ids=lambda number: number.name
)
def test_the_training_ends_with_the_process_that_materializes(toy: Toy, number: signal.Signals) -> None:
    process = dagster(toy, "asset", "materialize", "--select", "slow")
    until(lambda: toy.pids or process.poll() is not None)
    process.send_signal(number)
    process.wait()
    until(lambda: not any(map(lives, toy.pids)))
    assert len(toy.pids) == 1
    assert (toy.root / "saved.txt").exists()


@pytest.mark.slow
def test_the_stop_button_ends_the_training(toy: Toy) -> None:
    with served(toy) as ask:
        run = launched(ask)
        until(lambda: toy.pids)
        ask("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run)
        until(lambda: not any(map(lives, toy.pids)))
        status = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        until(lambda: ask(status, id=run)["runOrError"]["status"] == "CANCELED")
    assert (toy.root / "saved.txt").exists()
    assert list((toy.root / ".dagster/storage").rglob("*.db")), "history is kept where dagster.yaml says"


@contextmanager
def served(toy: Toy) -> Iterator[Any]:
    """`dagster dev` without DAGSTER_HOME; gives a function that puts a GraphQL question to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = dagster(toy, "dev", "-h", "127.0.0.1", "-p", str(port))

    def ask(query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        return said["data"]

    def is_ready() -> bool:
        assert process.poll() is None, (toy.root / "dagster.log").read_text()
        try:
            return bool(ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"))
        except OSError:
            return False

    try:
        until(is_ready, seconds=120)
        yield ask
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def launched(ask: Any) -> str:
    """Materialize everything, as the button does; gives the run."""
    (node,) = ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }")[
        "repositoriesOrError"
    ]["nodes"]
    selector = {
        "repositoryName": node["name"],
        "repositoryLocationName": node["location"]["name"],
        "pipelineName": "__ASSET_JOB",
        "assetSelection": [{"path": ["slow"]}],
    }
    answer = ask(
        "mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params)"
        " { __typename ... on LaunchRunSuccess { run { runId } } } }",
        params={"selector": selector, "mode": "default", "runConfigData": "{}"},
    )["launchPipelineExecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])
