"""What `lmmodel plan` says is what `dvc repro` then does, on the whole pipeline."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lmmodel import folder
from pipelines import design, outlook, parameters, paths, record
from pipelines.dagster_dvc import graph
from pipelines.scratch import Scratch
from tests.pipelines import a_project
from tests.project import TREE, Project, until

EDITS = [
    ("seed: 1", "seed: 2"),
    ("per_task: 4", "per_task: 3"),
    ("depth: 2", "depth: 1"),
    ("{kind: rotary}", "{kind: rotary, theta: 10_000}"),
    ("vocab_size: 320", "vocab_size: 330"),
    ("_shard: 4000", "_shard: 3000"),
    ("learning_rate: 1e-3", "learning_rate: 2e-3"),
    ("320", "320\n  train_bytes: 1e7"),
    ("width: 32\n  depth: 2", "depth: 2\n  width: 32"),
]


def remove(name: str) -> Callable[[Project, str], object]:
    def do(project: Project, lock: str) -> None:
        path = project.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return do


def append(name: str, text: str) -> Callable[[Project, str], object]:
    """At the end of a file, without writing through into the cache."""

    def do(project: Project, lock: str) -> None:
        before = project.read(name) if (project.root / name).exists() else ""
        (project.root / name).unlink(missing_ok=True)
        project.write({name: before + text})

    return do


HARMS: list[Callable[[Project, str], object]] = [
    remove("data/shards"),
    remove("models/finetune"),
    remove("models/pretrain.json"),
    remove("models/design/evaluate.json"),
    remove("dvc.lock"),
    append("models/pretrain/notes.txt", "by hand"),
    append("models/finetune.json", " "),
    append("models/design/pretrain.json", " "),
    append("lmmodel/folder.py", "\n# a comment\n"),
    append("lmmodel/inference/scoring.py", "\n\n_MORE = 1\n"),
    append("experiments/idea.py", "not Python"),
    append("data/raw/documents/00.txt", "And so on. "),
    append("data/raw/documents/unread.md", "not what corpus looks for"),
    lambda project, lock: project.write({"dvc.lock": lock}),  # as from git, without what lay beside it
]


def planned(project: Project) -> dict[str, dict[str, Any]]:
    ran = project.python("-m", "pipelines.cli", "plan", "--json")
    assert ran.code == 0, ran.output
    return {entry["stage"]: entry for entry in json.loads(ran.output)}


def recorded(project: Project) -> dict[str, dict[str, str | None]]:
    """Of each stage, what `dvc.lock` has of its outputs."""
    return {
        name: {output.path: output.version for output in stage.outputs}
        for name, stage in graph.settled(project.root).items()
    }


def agree(project: Project) -> set[str]:
    """Plan, do it, and compare; the actions that were planned."""
    plan, before = planned(project), recorded(project)
    ran, after = project.repro(), recorded(project)
    for stage, entry in plan.items():
        became = "run" if stage in ran.stages else "restored" if stage in ran.restored else "unchanged"
        same = all(before[name] == after[name] for name in entry["unless"])
        assert became in foretold(entry, same=same), (stage, entry, same, ran.output)
    return {entry["action"] for entry in plan.values()}


def foretold(entry: dict[str, Any], *, same: bool) -> set[str]:
    """What may become of a stage by its plan. same: those in `unless` gave the bytes that they gave the last time."""
    if entry["action"] == "run unless":
        return {"run", "restored"} if not same else {"unchanged", "restored", *(["run"] if entry["why"] else [])}
    return {"run"} if entry["action"] == "resumed" else {entry["action"]}


def test_planning_takes_no_torch() -> None:
    """Its import alone takes longer than `lmmodel plan` may."""
    program = "import sys; from pipelines.pages import plan; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=TREE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_edited_the_plan_comes_true(reproduced: Project, tmp_path: Path, seed: int) -> None:
    project = reproduced.copy(tmp_path / "project")
    chance = random.Random(seed)
    text, lock, seen = project.read("params.yaml"), project.read("dvc.lock"), set()
    for _ in range(7):
        edited = text
        for old, new in chance.sample(EDITS, chance.randint(0, 2)):
            edited = edited.replace(old, new, 1)
        project.write({"params.yaml": edited})
        for harm in chance.sample(HARMS, chance.randint(0, 2)):
            harm(project, lock)
        seen |= agree(project)
    assert {"unchanged", "run", "restored"} <= seen


def why(stage: str) -> tuple[str, ...]:
    return {step.stage: step for step in outlook.plan(parameters.read())}[stage].why


def test_what_is_wrong_with_a_result_is_told_in_a_line(finished: Path) -> None:
    shutil.rmtree("models/finetune")
    Path("models/finetune.csv").unlink()
    shutil.rmtree("models/design")
    paths.stage("pretrain").metrics.unlink()
    paths.stage("pretrain").metrics.write_text("{}")
    assert why("finetune") == ("models/finetune and models/finetune.csv: not here",)
    assert why("pretrain") == ("models/pretrain.json: changed by hand",)
    assert why("design")[0].endswith("models/design/tokenizer.json and 5 more: not here")


def test_another_commits_result_is_not_called_changed_by_hand(finished: Path) -> None:
    """As after a `git checkout` that nobody had a `dvc checkout` follow."""
    lock = paths.LOCK.read_text()
    (paths.stage("finetune").output / "result.txt").write_text("another\n")
    a_project.dvc("commit", "--force", "--quiet")
    assert paths.LOCK.read_text() != lock
    paths.LOCK.write_text(lock)
    assert why("finetune") == ("models/finetune: another result lies there",)


def test_without_a_lock_file_what_dvc_kept_is_not_called_new(finished: Path) -> None:
    paths.LOCK.unlink()
    steps = outlook.plan(parameters.read())
    assert {(step.action, step.why) for step in steps} == {("restored", ("dvc.lock does not have it",))}


def test_a_command_that_changed_is_told_whole(finished: Path) -> None:
    graph_file = Path("dvc.yaml")
    graph_file.write_text(graph_file.read_text().replace("python -m pipelines.shards", "python -O -m pipelines.shards"))
    told = "cmd was `python -m pipelines.shards` and is `python -O -m pipelines.shards` now"
    assert why("shards") == (told,)


@pytest.mark.slow
def test_a_training_that_was_stopped_is_planned_to_go_on_where_it_was(reproduced: Project, tmp_path: Path) -> None:
    project = reproduced.copy(tmp_path / "project")
    project.edit("params.yaml", "{tokens: 4096}", "{tokens: 204_800}")
    process = project.start("dvc", "repro")
    work = project.root / ".lmmodel/work/pretrain"
    until(lambda: any(work.glob("*/state/plan.json")), "pretrain to begin")
    os.killpg(process.pid, signal.SIGINT)  # after which the trainer saves: a kill would have to wait for a state
    process.communicate(timeout=60)
    state = next(work.glob("*/state/step-*"))
    entry = planned(project)["pretrain"]
    assert (entry["action"], entry["at_step"]) == ("resumed", int(state.name.rpartition("-")[2]))
    assert 0 < entry["at_step"] < 400
    assert entry["why"] == ["pretrain.budget.tokens was 4096 and is 204800 now"]
    ran = project.repro()
    assert f"goes on after step {entry['at_step']}" in ran.output


def test_work_that_was_finished_and_not_taken_up_is_planned_to_be(finished: Path) -> None:
    """Its identity is found as the stage itself will find it."""
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("tokens_per_shard: 1_000_000", "tokens_per_shard: 500_000"))
    given, stage = parameters.read(), paths.stage("shards")
    for path, content in design.outputs(given).items():  # what design will write, and the stage will read
        Path(path).write_text(folder.canonical(content))
    scratch = Scratch(stage, record.read(stage).identity)
    scratch.clear()
    (scratch.state / "step-0000000012").mkdir()
    step = {step.stage: step for step in outlook.plan(given)}["shards"]
    assert (step.action, step.at_step) == ("resumed", 12)
    shutil.copytree(stage.output, scratch.output, dirs_exist_ok=True)
    shutil.copyfile(stage.metrics, scratch.metrics)
    scratch.finish()
    step = {step.stage: step for step in outlook.plan(given)}["shards"]
    assert (step.action, step.why[-1]) == ("resumed", "finished before; it is only put in its place")
    assert step.seconds == 1.0
