"""The best candidate in MLflow's registry: loaded by its alias, served over HTTP, out of DVC's cache."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.project import Project, until

CROWN = """
from pipelines import tracking
from pipelines.tracking import champion
tracking.rebuild()
print("version", champion.crown())
"""
LOAD = """
import mlflow
model = mlflow.pyfunc.load_model("models:/lmmodel@champion")
print("said", model.predict(["Return a"], params={"tokens": 4, "temperature": 0.0}))
"""


@pytest.mark.slow
def test_the_champion_is_loaded_by_its_alias_and_answers_a_request(reproduced: Project, tmp_path: Path) -> None:
    project = reproduced.copy(tmp_path / "project")
    assert "version 1" in project.python("-c", CROWN).output
    assert "version None" in project.python("-c", CROWN).output  # as good as the champion is not better
    assert project.run("rm", "-rf", "models/finetune", "models/pretrain").code == 0  # DVC's cache has it
    told = project.python("-c", LOAD)
    assert told.code == 0, told.output
    said = told.output.partition("said ")[2].splitlines()[0]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/lmmodel@champion", "-p", str(port)]
    process = project.start(*server, "--env-manager", "local", "-h", "127.0.0.1")
    try:
        body = json.dumps({"inputs": ["Return a"], "params": {"tokens": 4, "temperature": 0.0}}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, headers)

        def answers() -> bool:
            assert process.poll() is None
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=10):
                    return True
            except OSError:
                return False

        until(answers, "the server")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert str(json.load(answer)["predictions"]) == said
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)
