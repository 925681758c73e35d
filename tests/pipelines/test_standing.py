"""What stands and what is out of date, told from small files, agrees with what was really recorded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines import parameters, paths, standing
from tests.pipelines import a_project


def survey() -> dict[str, standing.Standing]:
    return {item.stage.name: item for item in standing.survey(parameters.read())}


def edit(old: str, new: str) -> None:
    path = Path("params.yaml")
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def stale(found: dict[str, standing.Standing]) -> set[str]:
    return {name for name, item in found.items() if not item.is_current}


def test_where_everything_ran_nothing_is_out_of_date(finished: Path) -> None:
    assert stale(survey()) == set()


def test_where_nothing_ran_everything_is(finished: Path) -> None:
    paths.LOCK.unlink()
    found = survey()
    assert set(found) == set(parameters.SECTIONS)
    assert all(item.causes == ("it never ran",) for item in found.values())


def test_a_value_that_changed_is_named_with_both_values_and_what_follows_it_waits(finished: Path) -> None:
    edit("width: 128", "width: 64")
    found = survey()
    assert stale(found) == {"pretrain", "finetune", "evaluate"}
    assert "model.width was 128 and is 64 now" in found["pretrain"].causes
    assert found["evaluate"].after == ("pretrain", "finetune")


def test_launch_and_defaults_spelled_out_change_nothing(finished: Path) -> None:
    edit("workers: auto", "workers: 1")
    edit("{kind: full}", "full")
    assert stale(survey()) == set()


def test_the_seed_reaches_what_draws_and_never_the_data(finished: Path) -> None:
    edit("seed: 1", "seed: 2")
    found = survey()
    assert stale(found) == {"pretrain", "finetune", "evaluate"}
    assert "evaluate.seed was 1 and is 2 now" in found["evaluate"].causes


@pytest.mark.parametrize("file", ["models/design/pretrain.json", "models/design/declaration.json"])
@pytest.mark.parametrize("text", [None, ""])
def test_what_design_wrote_may_be_gone_or_damaged(finished: Path, file: str, text: str | None) -> None:
    Path(file).unlink()
    if text is not None:
        Path(file).write_text(text)
    survey()


def test_a_plan_that_design_has_already_rewritten_is_noticed_too(finished: Path) -> None:
    edit("tokens_per_shard: 1_000_000", "tokens_per_shard: 500_000")
    a_project.plan()
    found = survey()
    assert found["shards"].causes == ("models/design/shards.json changed since",)
    assert stale(found) == {"shards", "pretrain", "finetune", "evaluate"}


def test_new_raw_text_is_noticed(finished: Path) -> None:
    Path("data/raw/documents/new.txt").write_text("new")
    found = survey()
    assert found["corpus"].causes == ("data/raw/documents changed since",)
    assert not found["dialogues"].causes


def test_a_stage_that_ran_alone_leaves_its_readers_out_of_date(finished: Path) -> None:
    a_project.result(paths.stage("shards"), {"train": {"tokens": 7}})
    a_project.dvc("commit", "--force", "--quiet", "shards")
    found = survey()
    assert found["pretrain"].causes == ("data/shards changed since",)
    assert found["shards"].is_current


def test_a_result_that_is_gone_is_not_here(finished: Path) -> None:
    shutil.rmtree("models/evaluate")
    found = survey()
    assert stale(found) == {"evaluate"}
    assert not found["evaluate"].is_here
    assert found["evaluate"].causes == ()


def test_only_a_result_of_the_plan_and_data_that_stand_here_counts_as_theirs(finished: Path) -> None:
    recorded, stage = standing.lock(), paths.stage("pretrain")
    assert standing.is_recorded(stage, recorded)
    edit("width: 128", "width: 64")
    assert standing.is_recorded(stage, recorded)  # design has not run: plan, data and result still belong together
    a_project.plan()
    assert not standing.is_recorded(stage, recorded)
