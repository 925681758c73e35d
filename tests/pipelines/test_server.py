"""Whom MLflow's server answers when it is started as docs/team.md says."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.pipelines import a_server
from tests.pipelines.a_server import Server

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
