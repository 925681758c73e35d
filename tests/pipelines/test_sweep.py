"""Queued experiments: each in a copy of the project that is deleted later; scratch and runs are the project's own."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.pipelines.small import small
from tests.project import Project, kill, until


def copied(project: Project, name: str) -> Project:
    """As dvc makes one for an experiment: what git tracks, elsewhere; here with design's results."""
    root = project.root / ".dvc/tmp/exps" / name
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns(".dvc", ".git", ".lmmodel", "data"))
    shutil.copytree(project.root / "data/raw", root / "data/raw")
    return Project(root)


def begun(*copies: Project) -> list[int]:
    """How often each worked at corpus."""
    files = [copy.root / "computed" for copy in copies]
    return [len(file.read_text().splitlines()) if file.exists() else 0 for file in files]


def waited_for(first: Project, second: Project) -> str:
    """What the second says when it comes to corpus while the first is held there; the work is then done once."""
    holding = first.start("python", "-m", "pipelines.corpus")
    until(lambda: begun(first) == [1], "the first to begin")
    waiting = second.start("python", "-m", "pipelines.corpus")
    assert waiting.stdout
    said: str = waiting.stdout.readline()
    (first.root / "hold").unlink()
    for process in (holding, waiting):
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    assert "was finished before; taken up as it is" in output
    assert begun(first, second) == [1, 0]
    return said


def told_of(project: Project, question: str = "SELECT status FROM runs") -> list[tuple[str, ...]]:
    """What MLflow's database answers. What a stage notes last is carried there after the stage has ended."""
    with closing(sqlite3.connect(project.root / "mlflow.db")) as store:
        return store.execute(question).fetchall()


def test_an_experiment_goes_on_from_what_another_left_and_equal_work_is_done_once(tmp_path: Path) -> None:
    project = small(tmp_path / "project")
    project.repro("design")
    one, two, three = (copied(project, name) for name in ("one", "standalone/two", "three"))
    (one.root / "slow").touch()
    process = one.start("python", "-m", "pipelines.corpus")
    until(lambda: list(project.root.glob(".lmmodel/work/corpus/*/state/done")), "a first step")
    kill(process)
    shutil.rmtree(one.root)
    (done,) = project.root.glob(".lmmodel/work/corpus/*/state/done")
    lines = done.read_text()
    for copy in (two, three):
        (copy.root / "hold").touch()
    assert "is at this very work" in waited_for(two, three)
    made = [(copy.root / "data/corpus/lines.txt").read_text() for copy in (two, three)]
    assert made[0] == made[1]
    assert made[0].startswith(lines.rstrip())


def test_the_project_itself_waits_for_an_experiment_that_is_at_the_same_work(tmp_path: Path) -> None:
    project = small(tmp_path / "project")
    project.repro("design")
    one = copied(project, "one")
    (one.root / "hold").touch()
    assert "Until then this one waits" in waited_for(one, project)


@pytest.mark.slow
def test_designs_and_seeds_are_queued_run_side_by_side_and_compared(
    reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMMODEL_TRACKING", "on")
    project = reproduced.copy(tmp_path / "project")
    for command in (["add", "-A"], ["commit", "-q", "-m", "what the experiments begin from"]):
        assert project.run("git", *command).code == 0
    project.write({"experiments/mine.yaml": "like: gpt2\n"})
    for design, seeds in (("gpt2", "1,2"), ("experiments/mine.yaml", "1")):
        queued = project.dvc("exp", "run", "--queue", "-S", f"model.design={design}", "-S", f"seed={seeds}")
        assert queued.output.count("Queued experiment") == len(seeds.split(",")), queued.output
    assert project.dvc("queue", "start", "-j", "2").code == 0
    status = project.dvc("queue", "status").output
    while "Queued" in status or "Running" in status:
        time.sleep(10)  # each look takes a core for two seconds, which those at work lack
        status = project.dvc("queue", "status").output
    ended = [line.split() for line in status.splitlines() if line.endswith(("Success", "Failed"))]
    named = {outcome: [row[1] for row in ended if row[-1] == outcome] for outcome in ("Success", "Failed")}
    assert [len(names) for names in named.values()] == [2, 1]
    told = project.dvc("queue", "logs", named["Failed"][0]).output
    assert "sees only what git tracks: git add experiments/mine.yaml" in told

    shown = project.dvc("exp", "show", "--csv").output
    assert all(name in shown for name in named["Success"])
    until(lambda: told_of(project) == [("FINISHED",)] * 6, "what was noted last to be carried to MLflow")
    assert told_of(project, "SELECT value FROM params WHERE key = 'seed' ORDER BY value") == [("1",)] * 3 + [("2",)] * 3
    page = project.python("-m", "pipelines.cli", "compare", *named["Success"])
    assert page.code == 0, page.output
    assert ["seed", "1", "2"] in [line.split() for line in page.output.splitlines()]
    assert curves(project, *named["Success"]) == {
        "models/pretrain.csv": ("tokens", "validation_bits_per_byte"),
        "models/finetune.csv": ("tokens", "validation_loss_nats"),
    }


def curves(project: Project, *results: str) -> dict[str, tuple[str, str]]:
    """What `dvc plots diff` draws: file -> what lies along and what goes up; in each a line for every result."""
    told = json.loads(project.dvc("plots", "diff", *results, "--json").output.splitlines()[-1])
    found = {}
    for file, (drawing,) in told["data"].items():
        points = drawing["content"]["data"]["values"]
        along, up = (re.search(f'"{axis}": {{"field": "(\\w+)"', json.dumps(drawing["content"])) for axis in "xy")
        assert along
        assert up
        lines = [[(one[along[1]], float(one[up[1]])) for one in points if one["rev"] == name] for name in results]
        assert all(lines)
        assert lines[0] != lines[1]
        found[file] = (along[1], up[1])
    return found
