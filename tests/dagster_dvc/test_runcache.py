"""A folder of the run cache that a killed dvc left empty: dvc fails on it for good, who starts dvc here does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.dagster_dvc import graph, runcache, runner
from tests.dagster_dvc.toy import Toy

RUNS = ".dvc/cache/runs"


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """Killed as the last stage was done, before its entry was written."""
    toy = Toy.make(tmp_path)
    toy.dvc("repro", "train")
    before = folders(toy)
    toy.dvc("repro")
    (last,) = folders(toy) - before
    for entry in last.iterdir():
        entry.unlink()
    toy.write({"dvc.lock": toy.lock[: toy.lock.index("  judge:")]})
    return toy


def folders(toy: Toy) -> set[Path]:
    return set((toy.root / RUNS).glob("*/*"))


def test_dvc_itself_fails_on_it(toy: Toy) -> None:
    with pytest.raises(AssertionError, match="NoneType"):
        toy.dvc("repro")


def test_whoever_starts_dvc_removes_it_and_says_so(toy: Toy) -> None:
    with runner.started(toy.root) as run:
        said = list(run)
    assert [line for line in said if line.endswith("was left empty by a dvc that was killed: removed")]
    assert run.outcomes["judge"] == "executed"
    assert runcache.vacant(toy.root) == []


def test_while_another_dvc_is_at_work_it_stays_for_that_may_be_filling_it(toy: Toy) -> None:
    with graph.repository(toy.root) as repo, repo.lock:
        assert runcache.mend(toy.root) == []
    assert len(runcache.vacant(toy.root)) == 1
    assert len(runcache.mend(toy.root)) == 1


def test_so_does_who_watches(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    with runner.started(toy.root) as run:
        assert run.watch() == 0
    assert "was left empty by a dvc that was killed: removed" in capfd.readouterr().err
    assert "judge:" in toy.lock


def test_an_entry_is_no_empty_folder_and_a_project_that_cannot_be_read_has_none(toy: Toy) -> None:
    (empty,) = runcache.vacant(toy.root)
    assert len(folders(toy)) > 1
    with graph.repository(toy.root) as repo:
        assert empty.is_relative_to(repo.stage_cache.cache_dir)
    shutil.rmtree(toy.root / ".dvc")
    assert runcache.vacant(toy.root) == []
