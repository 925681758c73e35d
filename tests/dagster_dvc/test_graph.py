from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from pipelines.dagster_dvc import graph
from pipelines.dagster_dvc.graph import overlaps
from tests.dagster_dvc.toy import PARAMS, Toy

FOREIGN = """
vars: [{word: hello}]
stages:
  each:
    foreach: [small, large]
    do:
      cmd: python step.py ${item} out/${item}.txt
      outs: ["out/${item}.txt"]
  grid:
    matrix: {size: [1, 2], form: [a]}
    cmd: python step.py ${word} grid/${item.size}${item.form}.txt
    outs: ["grid/${item.size}${item.form}.txt"]
  inside:
    wdir: sub
    cmd: python ../step.py inside deep.txt
    deps: [../raw.txt]
    outs: [deep.txt]
  still:
    frozen: true
    cmd: python step.py still still.txt
    deps: [step.py]
    outs: [still.txt]
"""
SECOND = """
stages:
  more:
    cmd: python ../step.py more more.txt
    deps: [deep.txt]
    outs: [more.txt]
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Toy:
    files = {"sub/dvc.yaml": SECOND, "sub/params.yaml": PARAMS, "data.csv": "1,2"}
    toy = Toy.make(tmp_path, files, pipeline=FOREIGN)
    toy.dvc("add", "data.csv")
    return toy


def test_every_form_of_stage_is_read(foreign: Toy) -> None:
    stages = graph.settled(foreign.root)
    each, grid = ["each@small", "each@large"], ["grid@1-a", "grid@2-a"]
    assert set(stages) == {*each, *grid, "inside", "still", "sub/dvc.yaml:more", "data.csv.dvc"}
    assert stages["grid@1-a"].declared.command == "python step.py hello grid/1a.txt"
    assert stages["inside"].inputs == ("raw.txt",)
    assert stages["inside"].outputs[0].path == "sub/deep.txt"
    assert stages["sub/dvc.yaml:more"].inputs == ("sub/deep.txt",)
    assert stages["still"].frozen
    assert stages["data.csv.dvc"].declared.command is None
    assert stages["data.csv.dvc"].outputs[0].version
    assert stages["each@small"].recorded is None


def test_dvc_knows_every_stage_by_the_name_it_is_given(foreign: Toy) -> None:
    foreign.dvc("status", *graph.settled(foreign.root))


def test_what_is_found_is_what_dvc_records(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path)
    toy.dvc("repro")
    with graph.as_it_lies(toy.root) as project:
        for stage in project.stages:
            assert stage.recorded
            assert stage.recorded.command == stage.declared.command
            assert stage.recorded.parameters == stage.declared.parameters
            assert {path: project.found(path) for path in stage.inputs} == stage.recorded.inputs


def test_what_lies_there_now_is_found_anew(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path)
    toy.dvc("repro")
    toy.write({"raw.txt": "another text"})
    (toy.root / "data/left.txt").unlink()
    with graph.as_it_lies(toy.root) as project:
        split = next(stage for stage in project.stages if stage.name == "split")
        assert split.recorded
        assert project.found("raw.txt") not in (None, split.recorded.inputs["raw.txt"])
        assert project.found("data/left.txt") is None


def test_reading_waits_until_dvc_has_written(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.extend(graph.settled(toy.root)))
    with graph.as_it_lies(toy.root) as project, project.lock:
        reader.start()
        reader.join(timeout=0.7)
        assert not read
    reader.join()
    assert set(read) == {"settings", "split", "train", "judge"}


def test_paths_overlap_by_whole_names() -> None:
    assert overlaps("models/design", "models/design/pretrain.json")
    assert overlaps("models/design/pretrain.json", "models")
    assert not overlaps("models/design", "models/design.json")


def test_hints_and_descriptions_make_nothing_run_again(tmp_path: Path) -> None:
    """So they are the place for what only Dagster reads."""
    toy = Toy.make(tmp_path)
    toy.dvc("repro")
    toy.edit("dvc.yaml", "group: learning, kinds: [python]", "group: other")
    toy.edit("dvc.yaml", "desc: Learns", "desc: Learns something")
    assert json.loads(toy.dvc("status", "--json")) == {}
