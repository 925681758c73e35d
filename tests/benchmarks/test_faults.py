"""Faults and what is left after them: some of those that `python -m benchmarks.faults` tries, once each."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import confined
from benchmarks.faults.__main__ import table
from benchmarks.faults.scene import Scene
from benchmarks.faults.strikes import FAULTS, ROLES, SIGNALS, hit
from benchmarks.faults.trial import Fault, Outcome, Trial, outlived, tried

SIGNALLED = [fault for fault in FAULTS if getattr(fault.strike, "func", None) is hit]
OTHERS = [fault for fault in FAULTS if fault not in SIGNALLED]
SOME = [*SIGNALLED[::4], *OTHERS]
"""Of the signals those that between them reach every role of both doors; all of them take a quarter of an hour."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene.make(tmp_path_factory.mktemp("faults"))


def test_every_signal_goes_to_everybody_through_both_doors() -> None:
    assert len(SIGNALLED) == len(SIGNALS) * sum(map(len, ROLES.values()))
    assert len({(fault.door, fault.name) for fault in FAULTS}) == len(FAULTS)


@pytest.mark.slow
@pytest.mark.parametrize("fault", SOME, ids=lambda fault: f"{fault.door}: {fault.name}")
def test_nobody_is_left_nothing_is_lost_and_the_bytes_are_the_same(fault: Fault, scene: Scene, tmp_path: Path) -> None:
    if fault.confined and not confined.is_possible(tmp_path):
        pytest.skip("no file system can be mounted here")
    if fault.confined:
        outcome = confined.run(fault, 1, scene, tmp_path)
    else:
        outcome = tried(fault, 1, scene, tmp_path / "project")
    assert outcome.survived, outcome.wrong


@pytest.mark.slow
def test_a_trial_sees_what_did_not_survive(scene: Scene, tmp_path: Path) -> None:
    """Another budget, a state that is lost, a process that stays: each is named."""

    def lose(trial: Trial) -> None:
        trial.project.edit("params.yaml", "76_800", "4096")
        lost = trial.project.root / ".lmmodel/work/pretrain/another/state/step-0000000007"
        lost.mkdir(parents=True)

    outcome = tried(Fault("dvc repro", "sabotage", lose), 1, scene, tmp_path / "project")
    assert not outcome.survived
    told = " ".join(outcome.wrong)
    for wrong in ("step 7 was saved, and it did not go on from there", "other bytes", "another dvc.lock"):
        assert wrong in told


def test_who_stays_in_the_folder_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.faults import trial
    from tests.project import Project

    monkeypatch.setattr(trial, "GONE_WITHIN_SECONDS", 0.2)
    process = Project(tmp_path).start("sleep", "60")
    try:
        assert outlived(Project(tmp_path)) == ["sleep 60"]
    finally:
        process.kill()
        process.communicate()
    assert outlived(Project(tmp_path)) == []


def test_the_table_counts() -> None:
    outcomes = [
        Outcome("a", "fault", seed, in_time=seed > 1, mended=seed == 3, wrong=("x",) * (seed == 2), seconds=1.0)
        for seed in (1, 2, 3)
    ]
    *_, row, total = table(outcomes)
    assert row == "| a | fault | 3 | 2 | 1 | 2 |"
    assert total == "| all |  | 3 | 2 | 1 | 2 |"
