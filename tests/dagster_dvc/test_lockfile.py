from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.dagster_dvc import lockfile, runner
from tests.dagster_dvc.toy import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    toy = Toy.make(tmp_path)
    toy.dvc("repro")
    return toy


def outcomes(toy: Toy) -> dict[str, runner.Outcome]:
    """After a run whose first line says what was mended."""
    with runner.started(toy.root) as run:
        assert next(iter(run)).startswith("dvc.lock ")
        list(run)
    return run.outcomes


def as_git_leaves_it(text: str, line: str) -> str:
    """A merge of two branches that differ in `line`."""
    assert text.count(line) == 1
    return text.replace(line, f"<<<<<<< HEAD\n{line}=======\n{line.replace('0.5', '0.7')}>>>>>>> other\n")


def test_a_merge_that_is_still_open_costs_the_stages_it_reaches_into(toy: Toy) -> None:
    whole = toy.lock
    toy.write({"dvc.lock": as_git_leaves_it(whole, "        rate: 0.5\n")})
    assert outcomes(toy) == {"settings": "unchanged", "split": "unchanged", "train": "restored", "judge": "unchanged"}
    assert sorted(toy.lock.splitlines()) == sorted(whole.splitlines())  # what is restored is written last


def test_what_befell_it_and_how_much_stands_is_told_once(toy: Toy) -> None:
    whole = toy.lock
    toy.write({"dvc.lock": as_git_leaves_it(whole, "        rate: 0.5\n")})
    told = "dvc.lock holds both sides of a merge: 3 of its stages stand, the rest is restored"
    assert lockfile.mend(toy.root) == [told]
    toy.write({"dvc.lock": whole[: whole.index("cmd:")]})
    told = "dvc.lock was cut short by a dvc that was killed: 0 of its stages stand, the rest is restored"
    assert lockfile.mend(toy.root) == [told]
    assert not (toy.root / "dvc.lock").exists()
    assert lockfile.mend(toy.root) == []
