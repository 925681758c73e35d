"""What runs again when something changes: the promise that the project stands on, a test for each of its rows.

Every row is proved twice: by what design writes, on which the other stages depend (fast), and by `dvc repro` (slow).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lmmodel.params import document
from tests.project import STAGES, Project

Edit = Callable[[Project], object]
MODELS = ("pretrain", "finetune", "evaluate")
TUNED = MODELS[1:]
MORE = "data/raw/dialogues/more.jsonl"
SPARE = "\n\n_SPARE = 1\n"


@dataclass(frozen=True)
class Row:
    """An edit; the stages of which it changes the plan, the declaration or raw data; all that `dvc repro` runs."""

    name: str
    edit: Edit
    touched: tuple[str, ...]
    runs: tuple[str, ...]


def value(old: str, new: str) -> Edit:
    return lambda project: project.edit("params.yaml", old, new)


def code(name: str, more: str = SPARE) -> Edit:
    """Something more at the end of a module that was there, or a new file."""

    def edit(project: Project) -> None:
        before = project.read(name) if (project.root / name).exists() else '"""New."""\n'
        project.write({name: before + more})

    return edit


def more_dialogues(project: Project) -> None:
    project.write({MORE: json.dumps({"prompt": "And what is new?", "completion": "This is."}) + "\n"})


def silence(project: Project) -> None:
    """Comments, blank lines and a docstring in what every stage uses."""
    project.edit("lmmodel/folder.py", '"""SHA-256 of a file', '"""The digest, SHA-256, of a file')
    project.edit("pipelines/corpus.py", "\ndef produce", "\n\n# produces\ndef produce")
    code("lmmodel/params/settings.py", "\n\n\n# the end\n")(project)


CHANGES = [
    Row("a value of the model", value("depth: 2", "depth: 3"), MODELS[:1], ("design", *MODELS)),
    Row("a part of the design", value("{kind: rms}", "{kind: layer}"), MODELS, ("design", *MODELS)),
    Row("a value of corpus", value("0.2}\n\nt", "0.3}\n\nt"), ("corpus",), ("design", *STAGES[1:4], *MODELS)),
    Row("a value without effect", value("320", "320\n  train_bytes: 1e7"), ("tokenizer",), ("design", "tokenizer")),
    Row("a value of shards", value("_shard: 4000", "_shard: 3000"), ("shards",), ("design", "shards", *MODELS)),
    Row(
        "the vocabulary's size",
        value("vocab_size: 320", "vocab_size: 330"),
        ("tokenizer", "pretrain"),
        ("design", "tokenizer", "shards", *MODELS),
    ),
    Row("a value of dialogues", value("0.2}\n\np", "0.4}\n\np"), ("dialogues",), ("design", "dialogues", *TUNED)),
    Row("a file of dialogues", more_dialogues, ("dialogues",), ("dialogues", *TUNED)),
    Row("a value of pretrain", value("learning_rate: 0.02", "learning_rate: 0.01"), MODELS, ("design", *MODELS)),
    Row("a value that only pretrain reports", value("times: 2", "times: 1"), MODELS, ("design", *MODELS)),
    Row("a value of finetune", value("learning_rate: 1e-3", "learning_rate: 2e-3"), TUNED, ("design", *TUNED)),
    Row("a value of evaluate", value("per_task: 4", "per_task: 3"), MODELS[2:], ("design", "evaluate")),
    Row("the seed", value("seed: 1", "seed: 2"), MODELS, ("design", *MODELS)),
    Row("a used kind", code("lmmodel/architecture/norm/rms.py"), MODELS, ("design", *MODELS)),
    Row("what a used kind imports", code("lmmodel/architecture/attend.py"), MODELS, ("design", *MODELS)),
    Row("the loop", code("lmmodel/learning/training.py"), MODELS, ("design", *MODELS)),
    Row("scoring", code("lmmodel/inference/scoring.py"), MODELS[2:], ("design", "evaluate")),
    Row("a source", code("lmmodel/text/dialogue/files.py"), ("dialogues", *TUNED), ("design", "dialogues", *TUNED)),
    Row("a stage's own module", code("pipelines/shards.py"), ("shards", *MODELS), ("design", "shards", *MODELS)),
    Row("what all use", code("lmmodel/folder.py"), STAGES[1:], STAGES),
]  # fmt: skip

SILENT = [
    Row("a default spelled out", value("{kind: rotary}", "{kind: rotary, theta: 10_000}"), (), ("design",)),
    Row("another spelling of a value", value("learning_rate: 1e-3", "learning_rate: 0.001"), (), ()),
    Row("a word for a mapping", value("norm: {kind: rms}", "norm: rms"), (), ("design",)),
    Row("the order of keys", value("width: 32\n  depth: 2", "depth: 2\n  width: 32"), (), ()),
    Row("a comment in params.yaml", value("seed: 1", "seed: 1    # one"), (), ()),
    Row("an unused kind", code("lmmodel/architecture/position/learned.py"), (), ("design",)),
    Row("a new file", code("experiments/idea.py"), (), ("design",)),
    Row("the checker", code("lmmodel/architecture/check.py"), (), ("design",)),
    Row("the tracker", code("pipelines/tracking/store.py"), (), ("design",)),
    Row("how work is done", code("pipelines/work.py"), (), ("design",)),
    Row("comments and docstrings", silence, (), ("design",)),
    Row("launch", value("workers: 1", "workers: 2"), (), ()),
    Row("what Python leaves behind", code("lmmodel/__pycache__/x.pyc"), (), ()),
]


def rows(some: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", some, ids=[row.name for row in some])


@pytest.fixture
def ready(reproduced: Project, tmp_path: Path) -> Project:
    """A copy of it, to change."""
    return reproduced.copy(tmp_path / "project")


@pytest.fixture(scope="module")
def quiet(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of it, for changes that no result sees: each on top of the others."""
    return reproduced.copy(tmp_path_factory.mktemp("quiet") / "project")


def test_nothing_changed_nothing_runs(reproduced: Project) -> None:
    assert reproduced.repro().stages == []


@rows(SILENT)
def test_what_no_result_depends_on_runs_design_at_most(quiet: Project, row: Row) -> None:
    before = quiet.outputs()
    row.edit(quiet)
    assert tuple(quiet.repro().stages) == row.runs
    assert quiet.outputs() == before


@rows(CHANGES)
def test_what_a_change_touches(ready: Project, row: Row) -> None:
    before = {name: inputs(ready, name) for name in STAGES[1:]}
    row.edit(ready)
    assert ready.python("-c", PLANNED).output == ""
    assert [name for name in STAGES[1:] if inputs(ready, name) != before[name]] == list(row.touched)


PLANNED = """
from pathlib import Path
from lmmodel import folder
from pipelines import design, parameters
for path, content in design.outputs(parameters.read()).items():
    Path(path).write_text(folder.canonical(content))
"""
"""What design writes for the others, without judging the model first."""


def inputs(project: Project, stage: str) -> dict[str, bytes]:
    """What dvc.yaml lets `stage` read of design's outputs and of raw data."""
    graph = document.parse(project.read("dvc.yaml"), name="dvc.yaml").data["stages"]
    own = [project.root / path for path in graph[stage]["deps"] if path.startswith(("models/design/", "data/raw/"))]
    files = [file for path in own for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return {str(file): file.read_bytes() for file in files}


@pytest.mark.slow
@rows(CHANGES)
def test_what_a_change_runs(ready: Project, row: Row) -> None:
    row.edit(ready)
    assert tuple(ready.repro().stages) == row.runs


@pytest.mark.parametrize(
    ("edits", "runs"),
    [
        ([value("per_task: 4", "per_task: 3"), code("lmmodel/inference/scoring.py")], ("design", "evaluate")),
        pytest.param(
            [value("seed: 1", "seed: 2"), more_dialogues], ("design", "dialogues", *MODELS), marks=pytest.mark.slow
        ),
    ],
    ids=["a value and code", "seed and data"],
)
def test_back_to_what_ran_before_nothing_is_computed(ready: Project, edits: list[Edit], runs: tuple[str, ...]) -> None:
    """DVC's run cache has it all."""
    before, lock = ready.outputs(), ready.read("dvc.lock")
    for edit in edits:
        edit(ready)
    assert tuple(ready.repro().stages) == runs
    assert ready.outputs() != before
    ready.run("git", "checkout", "-q", "--", "params.yaml", "lmmodel")
    (ready.root / MORE).unlink(missing_ok=True)
    assert ready.repro().stages == []
    assert ready.outputs() == before
    assert ready.read("dvc.lock") == lock


@pytest.mark.slow
def test_two_fresh_clones_give_the_same_bytes(reproduced: Project, tmp_path: Path) -> None:
    other = reproduced.clone(tmp_path / "elsewhere")
    assert other.repro().stages == list(STAGES)
    assert other.outputs() == reproduced.outputs()
    assert other.read("dvc.lock") == reproduced.read("dvc.lock")


def test_what_was_pushed_is_pulled_and_not_made_again(ready: Project, tmp_path: Path) -> None:
    for command in (["remote", "add", "-d", "here", str(tmp_path / "remote")], ["push"]):
        assert ready.dvc(*command).code == 0
    for command in (["add", "-A"], ["commit", "-q", "-m", "results"]):
        assert ready.run("git", *command).code == 0
    other = ready.clone(tmp_path / "elsewhere")
    assert other.dvc("pull").code == 0
    assert other.repro().stages == []
    assert other.outputs() == ready.outputs()
