from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from pipelines.dagster_dvc import assets
from tests.dagster_dvc.dagster_says import materialize, outcomes, unsynced
from tests.dagster_dvc.toy import Toy

ALL = {"settings", "split/data/left.txt", "split/data/right.txt", "train", "judge"}


@dataclass(frozen=True)
class Materialized:
    """A toy whose assets were all materialized once, and Dagster's memory of it."""

    toy: Toy
    memory: Path
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def materialized(tmp_path_factory: pytest.TempPathFactory) -> Materialized:
    toy, memory = Toy.make(tmp_path_factory.mktemp("toy")), tmp_path_factory.mktemp("memory")
    with dg.DagsterInstance.local_temp(str(memory)) as instance:
        return Materialized(toy, memory, materialize(toy, instance))


@pytest.fixture
def toy(tmp_path: Path, materialized: Materialized) -> Toy:
    """A copy of the toy that was materialized."""
    return Toy(shutil.copytree(materialized.toy.root, tmp_path / "toy"))


@pytest.fixture
def instance(tmp_path: Path, materialized: Materialized) -> Iterator[dg.DagsterInstance]:
    """A copy of the memory that Dagster has of it."""
    memory = shutil.copytree(materialized.memory, tmp_path / "memory")
    with dg.DagsterInstance.local_temp(str(memory)) as instance:
        yield instance


def test_materializing_everything_gives_the_lock_that_dvc_repro_gives(
    tmp_path: Path, materialized: Materialized
) -> None:
    assert outcomes(materialized.result) == dict.fromkeys(ALL, "executed")
    other = Toy.make(tmp_path)
    other.dvc("repro")
    assert materialized.toy.lock == other.lock


def test_an_edit_shows_on_its_stage_until_it_is_taken_back(toy: Toy, instance: dg.DagsterInstance) -> None:
    assert unsynced(toy, instance) == set()
    toy.edit("params.yaml", "rate: 0.5", "rate: 0.7")
    assert unsynced(toy, instance) == {"train"}
    toy.edit("params.yaml", "rate: 0.7", "rate: 0.5")
    assert unsynced(toy, instance) == set()


def test_a_run_in_a_terminal_is_taken_for_what_it_is(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.edit("params.yaml", "rate: 0.5", "rate: 0.7")
    toy.dvc("repro", "train")
    assert outcomes(materialize(toy, instance, "train")) == {"train": "unchanged"}
    assert unsynced(toy, instance) == set()


def test_equal_bytes_leave_the_readers_alone(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.edit("step.py", "import json, os", "import json, math, os")
    assert unsynced(toy, instance) == {"settings"}
    assert outcomes(materialize(toy, instance, "settings")) == {"settings": "executed"}
    assert unsynced(toy, instance) == set()


def test_a_reader_of_one_output_does_not_mind_the_others(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.edit("dvc.yaml", "data/split.json\n", "data/split.json && echo more >> data/right.txt\n")
    materialize(toy, instance, "split/data/left.txt", "split/data/right.txt")
    assert unsynced(toy, instance) == {"judge"}


def test_materializing_one_asset_first_brings_the_details_that_it_reads_up_to_date(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path, {"data/left.txt": "given"})
    with dg.DagsterInstance.ephemeral() as instance:
        assert outcomes(materialize(toy, instance, "train")) == {"train": "executed"}
    assert "settings:" in toy.lock


def test_going_back_is_restored_and_says_so(toy: Toy, instance: dg.DagsterInstance) -> None:
    before = toy.lock
    toy.edit("params.yaml", "rate: 0.5", "rate: 0.7")
    assert outcomes(materialize(toy, instance, "train")) == {"train": "executed"}
    toy.edit("params.yaml", "rate: 0.7", "rate: 0.5")
    assert outcomes(materialize(toy, instance, "train")) == {"train": "restored"}
    assert toy.lock == before


def test_a_result_shows_figures_table_curve_and_text(materialized: Materialized) -> None:
    (event,) = materialized.result.asset_materializations_for_node("train")
    assert event.metadata["loss"] == dg.MetadataValue.float(0.25)
    assert event.metadata["size.tokens"] == dg.MetadataValue.int(12)
    assert "| size.tokens | 12 |" in str(event.metadata["metrics"].value)
    assert "![Training](data:image/png;base64," in str(event.metadata["curve"].value)
    assert "weights left" in str(event.metadata["weights"].value)


def test_the_definition_of_an_asset_says_what_it_is(toy: Toy) -> None:
    definitions = {spec.key.to_user_string(): one for one in assets.load(toy.root) for spec in one.specs}
    assert definitions["train"].op.pool == "device"
    (train,) = definitions["train"].specs
    assert train.description == "Learns"
    assert train.group_name == "learning"
    assert train.kinds == {"dvc", "python"}
    assert [dep.asset_key.to_user_string() for dep in train.deps] == ["split/data/left.txt"]
    assert train.metadata["parameters"] == dg.MetadataValue.json({"params.yaml": {"rate": 0.5}})


def test_a_stage_that_fails_says_why_and_what_comes_after_it_does_not_run(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    toy.edit("dvc.yaml", "python step.py train", "echo no such thing && false && python step.py train")
    result = materialize(toy, instance, "train", "judge", raises=False)
    assert not result.success
    assert "no such thing" in str(result.failure_data_for_node("train"))
    assert outcomes(result) == {}


def test_a_dvc_file_is_an_asset_whose_data_is_committed_when_it_is_materialized(tmp_path: Path) -> None:
    stage = "stages:\n  count:\n    cmd: wc -c < data.csv > count.txt\n    deps: [data.csv]\n    outs: [count.txt]\n"
    toy = Toy.make(tmp_path, {"data.csv": "1,2"}, pipeline=stage)
    toy.dvc("add", "data.csv")
    with dg.DagsterInstance.ephemeral() as instance:
        materialize(toy, instance)
        assert unsynced(toy, instance) == set()
        toy.write({"data.csv": "1,2,3"})
        assert unsynced(toy, instance) == {"data.csv", "count"}  # as `dvc status` has it
        materialize(toy, instance, "data.csv")
        assert unsynced(toy, instance) == {"count"}
        assert outcomes(materialize(toy, instance)) == {"data.csv": "unchanged", "count": "executed"}
        assert unsynced(toy, instance) == set()


@pytest.mark.parametrize(("end", "times"), [("kill -9 $$", 2), ("exit 1", 1)])
def test_a_stage_is_tried_again_only_when_the_machine_ended_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, times: int
) -> None:
    monkeypatch.setattr(assets, "PAUSE_SECONDS", 0)
    command = f"echo x >> tries; test $(wc -l < tries) = 2 || {end}; echo done > once.txt"
    toy = Toy.make(tmp_path, pipeline=f"stages:\n  once:\n    cmd: {command}\n    outs: [once.txt]\n")
    with dg.DagsterInstance.ephemeral() as instance:
        assert materialize(toy, instance, raises=False).success is (times == 2)
    assert (tmp_path / "tries").read_text().count("x") == times
