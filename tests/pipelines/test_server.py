"""MLflow's server, started as docs/team.md says: whom it answers, and what it keeps of checkpoints."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.tracking.delivery import deliver_abandoned
from pipelines.tracking.notes import place
from tests.pipelines import a_server
from tests.pipelines.a_server import Server
from tests.pipelines.a_store import runs, steps_of
from tests.pipelines.test_checkpoints import SCORES, TRAINED, TUNED, judged, models, numbers, trained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with a_server.serving(folder / "files", f"sqlite:///{folder / 'server.db'}") as made:
        yield made


def asked(server: Server, **headers: str) -> tuple[int, str]:
    """What it says to a browser that asks for the runs of an experiment, as MLflow's page does."""
    body = json.dumps({"experiment_ids": ["0"]}).encode()
    told = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"{server.address}/ajax-api/2.0/mlflow/runs/search", body, told)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_it_answers_to_each_of_its_names(server: Server) -> None:
    for name in server.names:
        assert asked(server, Host=name) == (200, "{}")
        assert asked(server, Host=name, Origin=f"http://{name}") == (200, "{}")


def test_it_refuses_another_name_and_another_page(server: Server) -> None:
    code, text = asked(server, Host=f"localhost:{server.port}")
    assert (code, text.partition(" - ")[0]) == (403, "Invalid Host header")
    assert asked(server, Origin="http://elsewhere.example") == (403, "Cross-origin request blocked")


def test_what_is_carried_there_twice_is_one_model_with_what_was_found_of_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    for _ in range(2):
        trained(TRAINED)
        trained(TUNED, "finetune", candidate=TRAINED, bits=1.0)
        judged(SCORES)
    assert deliver_abandoned(place()) == 6
    assert {path: numbers(model)["checkpoint/choice.acc"] for path, model in models().items()} == {
        "models/pretrain": 0.3,
        "models/finetune": 0.6,
    }
    [candidate] = [run for run in runs() if run.data.tags["lmmodel.stage"] == "pretrain"]
    assert steps_of(candidate, "validation_bits_per_byte") == list(range(5))
