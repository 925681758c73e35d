"""A server that takes questions and answers none, and one that is gone when the last words are said: nothing is lost,
nobody but the carrier waits, and it does not wait for ever."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import tracking
from pipelines.tracking.delivery import deliver_abandoned
from pipelines.tracking.notes import abandoned, place
from tests.pipelines import a_project, a_server
from tests.pipelines.a_store import runs, settle, steps_of, with_database
from tests.project import until

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own use of SQLAlchemy

POINTS = 200
QUESTION_SECONDS = 10  # that a question to a server may take (`pipelines.tracking.store`)


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a server that the system takes connections for, and that never reads one."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def given_up() -> bool:
    """Whether no process holds the notes that are left."""
    free = list(abandoned(place()))
    for notes in free:
        notes.close()
    return len(free) == len(list(place().glob("[0-9]*")))


@pytest.mark.slow
def test_a_server_that_never_answers_holds_nobody_up(
    finished: Path, mute: str, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mute)
    waited = []
    with tracking.follow(a_project.job("pretrain")) as run:
        for step in range(POINTS):
            began = time.monotonic()
            run.log({"loss_nats": 1.0}, step=step)
            waited.append(time.monotonic() - began)
            time.sleep(0.02)  # in which the carrier comes to ask
        began = time.monotonic()
    farewell = time.monotonic() - began
    assert sum(waited) < QUESTION_SECONDS, "who asks it waits so long for each answer that does not come"
    assert farewell < QUESTION_SECONDS
    assert not given_up()
    until(given_up, "the carrier to give up", seconds=90)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with_database(finished, empty_database)
    assert deliver_abandoned(place()) == 1
    [arrived] = runs()
    assert steps_of(arrived, "loss_nats") == list(range(POINTS))
    assert arrived.info.status == "FINISHED"


@pytest.mark.slow
def test_a_server_that_goes_away_at_the_end_gets_what_was_said_last_when_it_is_back(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server.serving(tmp_path / "server", f"sqlite:///{tmp_path / 'server.db'}") as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        with tracking.follow(a_project.job("pretrain")) as run:
            run.log({"loss_nats": 2.0}, step=1)
            until(lambda: bool(runs()) and steps_of(runs()[0], "loss_nats") == [1], "the first point to arrive", 300)
            server.stop()
            run.log({"loss_nats": 1.0}, step=2)
            run.figures({"tokens": 17})
        until(given_up, "the carrier to give up", seconds=120)
        server.start()
        assert deliver_abandoned(place()) == 1
        settle()
        [arrived] = runs()
        assert steps_of(arrived, "loss_nats") == [1, 2]
        assert arrived.data.metrics["tokens"] == 17
        assert arrived.info.status == "FINISHED"
        assert len(arrived.outputs.model_outputs) == 1
