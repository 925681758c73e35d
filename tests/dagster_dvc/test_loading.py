"""Definitions that are loaded while a dvc is at work: neither torn by what it writes, nor held up by it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines.dagster_dvc import assets, graph, variant
from tests.dagster_dvc.toy import Toy

TORN = "schema: '2.0'\nstages: {split"
WHOLE = "schema: '2.0'\nstages: {}\n"


@pytest.mark.parametrize("load", [assets.load, variant.job])
def test_a_moment_in_which_dvc_writes_is_waited_for(tmp_path: Path, load: Any) -> None:
    toy = Toy.make(tmp_path)
    with ThreadPoolExecutor(1) as other:
        with graph.as_it_lies(toy.root) as project, project.lock:
            toy.write({"dvc.lock": TORN})
            loading = other.submit(load, toy.root)
            with pytest.raises(TimeoutError):
                loading.result(timeout=1.0)
            toy.write({"dvc.lock": WHOLE})
        assert loading.result(timeout=60)


def test_a_dvc_that_is_at_work_for_long_is_not(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path, {"dvc.lock": WHOLE})
    with graph.as_it_lies(toy.root) as project, project.lock:
        assert len(assets.load(toy.root)) == 4


def test_what_nobody_can_read_is_said(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path, {"dvc.lock": TORN})
    with pytest.raises(graph.UnreadableError, match=r"dvc\.lock"):
        assets.load(toy.root)
