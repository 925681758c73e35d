"""A server of MLflow that goes away in a training, which neither waits nor changes; and nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines import a_server
from tests.pipelines.a_server import Server
from tests.project import Project, kill, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # MLflow's own use of SQLAlchemy
]
LONG = ("budget: {tokens: 4096}", "budget: {tokens: 307200}")
STEPS = 307200 // 512


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with a_server.serving(tmp_path / "server", f"sqlite:///{tmp_path / 'server.db'}") as made:
        yield made


@pytest.fixture(scope="module")
def prepared(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One that has a longer training before it."""
    made = reproduced.copy(tmp_path_factory.mktemp("prepared") / "project")
    made.edit("params.yaml", *LONG)
    made.repro("design")
    return made


@pytest.fixture(scope="module")
def untracked(prepared: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the training ends in when nobody follows it."""
    other = prepared.copy(tmp_path_factory.mktemp("untracked") / "project")
    other.repro("-s", "pretrain")
    return other.outputs()


@pytest.fixture
def project(prepared: Project, tmp_path: Path) -> Project:
    return prepared.copy(tmp_path / "project")


def noted(project: Project) -> int:
    """How many points the training has written down so far."""
    files = project.root.glob(".lmmodel/tracking/[0-9]*/notes.jsonl")
    return sum(file.read_text().count('"loss_nats"') for file in files)


@pytest.fixture
def followed(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, which the stages are told of."""
    monkeypatch.setenv("LMMODEL_TRACKING", "on")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    return server


def run_of(server: Server) -> Any:
    """The only run there is; None before it is there."""
    from mlflow import MlflowClient

    client = MlflowClient(server.address)
    experiment = client.get_experiment_by_name("lmmodel")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    assert len(found) < 2
    return found[0] if found else None


def steps(server: Server) -> list[int]:
    """Of the loss, as the run has them."""
    from mlflow import MlflowClient

    run = run_of(server)
    history = MlflowClient(server.address).get_metric_history(run.info.run_id, "loss_nats") if run else []
    return [point.step for point in history]


def assert_nothing_is_lost(server: Server, project: Project) -> None:
    """All has arrived, with what `lmmodel report` does for those who were away for longer than the carrier waits.

    The carrier may still be at it, or give up in this very moment: a report takes up what nobody carries.
    """

    def arrived() -> bool:
        told = project.python("-c", "from pipelines import tracking; print(tracking.rebuild())")
        assert told.code == 0, told.output
        return not list(project.root.glob(".lmmodel/tracking/[0-9]*"))

    until(arrived, "all to arrive", seconds=120)
    assert steps(server) == list(range(1, STEPS + 1))
    run = run_of(server)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["tokens"] == STEPS * 512


def test_a_server_that_goes_away_and_comes_back_has_every_point_of_the_same_training(
    followed: Server, project: Project, untracked: dict[str, bytes]
) -> None:
    process = project.start("python", "-m", "dvc", "repro", "-s", "pretrain")
    try:
        until(lambda: bool(steps(followed)), "the first points to arrive", seconds=300)
        followed.stop()
        before = noted(project)
        assert before < STEPS, "the training was over before the server went away"
        until(lambda: noted(project) > before, "the training to go on")
        followed.start()
        told, _ = process.communicate(timeout=300)
        assert process.returncode == 0, told
    finally:
        with suppress(ProcessLookupError):  # it has ended
            kill(process)
    assert project.outputs() == untracked
    assert_nothing_is_lost(followed, project)


def test_a_server_that_takes_questions_and_answers_none_holds_no_training_up(
    followed: Server, project: Project, untracked: dict[str, bytes]
) -> None:
    assert followed.process is not None
    os.killpg(followed.process.pid, signal.SIGSTOP)
    try:
        project.repro("-s", "pretrain")
    finally:
        os.killpg(followed.process.pid, signal.SIGCONT)
    assert project.outputs() == untracked
    assert_nothing_is_lost(followed, project)
