"""What is foretold is what dvc then does, on a pipeline of which some stages give the same bytes whatever they read."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.dagster_dvc import graph, runner
from pipelines.dagster_dvc.archive import Archive
from pipelines.dagster_dvc.forecast import Change, Verdict, forecast
from tests.dagster_dvc.toy import Toy

OUTCOMES = {"unchanged": {"unchanged"}, "restored": {"restored"}, "run": {"executed"}}


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy.make(tmp_path / "toy")


def foretold(toy: Toy, **known: dict[str, str]) -> dict[str, Verdict]:
    with graph.repository(toy.root) as repo:
        return {verdict.stage: verdict for verdict in forecast(repo, lambda stage: known.get(stage, {}))}


def actions(toy: Toy) -> dict[str, str]:
    return {name: verdict.action for name, verdict in foretold(toy).items()}


def done(toy: Toy) -> dict[str, str]:
    with runner.started(toy.root) as run:
        list(run)
    return dict(run.outcomes)


def agree(toy: Toy) -> set[tuple[str, str]]:
    """Foretell, do it, and compare; what was foretold, and what came of it."""
    said = foretold(toy)
    became = done(toy)
    for name, verdict in said.items():
        assert became[name] in OUTCOMES.get(verdict.action, {"unchanged", "restored", "executed"}), (name, verdict)
        now = {output.path: output.version for output in graph.settled(toy.root)[name].outputs}
        assert verdict.outputs.items() <= now.items() or None in verdict.outputs.values(), (name, verdict)
    return {(verdict.action, became[name]) for name, verdict in said.items()}


def test_edits_and_what_becomes_of_each_stage(toy: Toy) -> None:
    assert set(actions(toy).values()) == {"run"}
    agree(toy)
    assert set(actions(toy).values()) == {"unchanged"}
    toy.edit("params.yaml", "seed: 1", "seed: 2")
    assert actions(toy) == {"settings": "run", "split": "unchanged", "train": "run unless", "judge": "run unless"}
    assert agree(toy) == {("run", "executed"), ("unchanged", "unchanged"), ("run unless", "unchanged")}
    toy.write({"raw.txt": "other text"})
    toy.edit("params.yaml", "seed: 2", "seed: 1")
    assert actions(toy) == {"settings": "restored", "split": "run", "train": "run", "judge": "run"} | {
        "train": "run unless",
        "judge": "run unless",
    }
    assert ("run unless", "executed") in agree(toy)
    toy.write({"raw.txt": "text"})
    assert agree(toy) == {("restored", "restored"), ("unchanged", "unchanged")}


def test_causes_are_told_with_what_was_and_what_is(toy: Toy) -> None:
    done(toy)
    toy.edit("params.yaml", "rate: 0.5", "rate: 0.1")
    toy.write({"raw.txt": "other"})
    toy.edit("dvc.yaml", "step.py judge", "step.py  judge")
    (toy.root / "models/settings/train.txt").write_text("by hand")
    said = foretold(toy)
    assert said["train"].changes == (Change("params.yaml:rate", 0.5, 0.1),)
    assert [change.what for change in said["split"].changes] == ["raw.txt"]
    assert "step.py judge" in said["judge"].changes[0].then
    assert said["settings"].harmed == {"models/settings/train.txt": "modified"}
    assert said["settings"].action == "restored"
    assert (said["split"].action, said["train"].action, said["judge"].action) == ("run", "run", "run")


def test_what_the_caller_can_foretell_is_taken_for_known(toy: Toy) -> None:
    done(toy)
    known = {output.path: str(output.version) for output in graph.settled(toy.root)["settings"].outputs}
    toy.edit("params.yaml", "seed: 1", "seed: 2")
    said = foretold(toy, settings=known)
    assert [said[name].action for name in ("settings", "train", "judge")] == ["run", "unchanged", "unchanged"]
    moved = known | {"models/settings/train.txt": "0" * 32}
    assert foretold(toy, settings=moved)["train"].action == "run"


def test_a_result_that_is_in_no_cache_has_to_be_made_whatever_comes_before(toy: Toy) -> None:
    done(toy)
    shutil.rmtree(toy.root / ".dvc/cache/files")
    toy.edit("params.yaml", "seed: 1", "seed: 2")
    assert set(actions(toy).values()) == {"run"}
    agree(toy)


def test_small_files_are_read_by_their_hash(toy: Toy) -> None:
    done(toy)
    split = graph.settled(toy.root)["split"]
    oid = next(output.version for output in split.outputs if output.path == "data/left.txt")
    with graph.repository(toy.root) as repo:
        archive = Archive(repo, fetching=True)
        assert archive.read(oid) == (toy.root / "data/left.txt").read_bytes()
        assert archive.read("0" * 32) is None
        assert archive.within(None, "x") is None


EDITS: list[Callable[[Toy, random.Random], None]] = [
    lambda toy, chance: toy.write(
        {"params.yaml": f"rate: {chance.choice([0.5, 0.1])}\nseed: {chance.randint(1, 3)}\n"}
    ),
    lambda toy, chance: toy.write({"raw.txt": chance.choice(["text", "other", "more"])}),
    lambda toy, chance: (toy.root / chance.choice(["scores.json", "data/left.txt"])).unlink(missing_ok=True),
    lambda toy, chance: toy.write({"models/weights.txt": "by hand"}),
    lambda toy, chance: toy.write({"step.py": (toy.root / "step.py").read_text() + "# more\n"}),
    lambda toy, chance: lose(toy, chance),
]


def lose(toy: Toy, chance: random.Random) -> None:
    objects = sorted(path for path in (toy.root / ".dvc/cache/files").rglob("*") if path.is_file())
    if objects:
        chance.choice(objects).unlink()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_edited_the_forecast_comes_true(toy: Toy, seed: int) -> None:
    chance = random.Random(seed)
    seen = agree(toy)
    for _ in range(15):
        for edit in chance.sample(EDITS, chance.randint(1, 2)):
            edit(toy, chance)
        seen |= agree(toy)
    assert {said for said, _ in seen} == {"unchanged", "restored", "run", "run unless"}
