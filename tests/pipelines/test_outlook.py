"""What `lmmodel plan` says is what `dvc repro` then does, on the whole pipeline."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lmmodel import folder
from pipelines import design, outlook, parameters, paths, record
from pipelines.scratch import Scratch
from tests.project import TREE, Project, until

ACTIONS = {"unchanged": {"unchanged"}, "restored": {"restored"}, "run": {"run"}, "resumed": {"run"}}
EDITS = [
    ("seed: 1", "seed: 2"),
    ("per_task: 4", "per_task: 3"),
    ("depth: 2", "depth: 1"),
    ("{kind: rotary}", "{kind: rotary, theta: 10_000}"),
    ("vocab_size: 320", "vocab_size: 330"),
    ("_shard: 4000", "_shard: 3000"),
    ("learning_rate: 1e-3", "learning_rate: 2e-3"),
    ("320", "320\n  train_bytes: 1e7"),
]


def planned(project: Project) -> dict[str, dict[str, Any]]:
    ran = project.python("-m", "pipelines.cli", "plan", "--json")
    assert ran.code == 0, ran.output
    return {entry["stage"]: entry for entry in json.loads(ran.output)}


def agree(project: Project) -> set[str]:
    """Plan, do it, and compare; the actions that were planned."""
    plan = planned(project)
    ran = project.repro()
    for stage, entry in plan.items():
        became = "run" if stage in ran.stages else "restored" if stage in ran.restored else "unchanged"
        assert became in ACTIONS.get(entry["action"], {"run", "restored", "unchanged"}), (stage, entry, ran.output)
    return {entry["action"] for entry in plan.values()}


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
    text, seen = project.read("params.yaml"), set()
    for _ in range(6):
        edited = text
        for old, new in chance.sample(EDITS, chance.randint(0, 2)):
            edited = edited.replace(old, new, 1)
        project.write({"params.yaml": edited})
        if chance.random() < 0.3:
            shutil.rmtree(project.root / chance.choice(["data/shards", "models/finetune"]))
        seen |= agree(project)
    project.write({"params.yaml": text})
    assert agree(project) <= {"unchanged", "restored"}
    assert {"unchanged", "run"} < seen


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
