"""The stages `pretrain` and `finetune` as DVC runs them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

import lmmodel
from lmmodel import folder
from lmmodel.learning import checkpoint, curve
from tests.project import Project, until

pytestmark = pytest.mark.slow

LONG = ("budget: {tokens: 4096}", "budget: {tokens: 102400}")


@pytest.fixture
def own(reproduced: Project, tmp_path: Path) -> Project:
    return reproduced.copy(tmp_path / "project")


def test_a_checkpoint_explains_itself_and_its_numbers_are_those_of_the_curve(reproduced: Project) -> None:
    models = reproduced.root / "models"
    told = checkpoint.facts(models / "pretrain")
    numbers = json.loads(reproduced.read("models/pretrain.json"))
    rows = list(csv.DictReader(reproduced.read("models/pretrain.csv").splitlines()))
    assert tuple(rows[0]) == curve.COLUMNS
    assert [int(row["step"]) for row in rows] == [4, 8]
    assert float(rows[-1]["validation_bits_per_byte"]) == numbers["validation_bits_per_byte"]
    assert (told["step"], told["tokens"], told["seed"]) == (8, 4096, 1)
    assert told["data"]["shards"] == folder.digest(reproduced.root / "data/shards/index.json")
    model, tokenizer = lmmodel.load(models / "pretrain")
    assert sum(p.numel() for p in model.parameters()) == numbers["parameters"]
    assert tokenizer.vocab_size == model.declaration.vocab_size


def test_fine_tuning_goes_on_from_the_pretrained_weights_and_is_better_at_answers(reproduced: Project) -> None:
    numbers = json.loads(reproduced.read("models/finetune.json"))
    assert checkpoint.facts(reproduced.root / "models/finetune")["data"].keys() == {"pretrain", "dialogues"}
    assert numbers["parameters"] == json.loads(reproduced.read("models/pretrain.json"))["parameters"]
    assert numbers["validation_loss_nats"] < numbers["loss_nats"] + 1


def test_no_fine_tuning_is_said_in_a_folder_of_its_own(own: Project) -> None:
    text = own.read("params.yaml")
    head, _, tail = text.partition("finetune:\n")
    own.write({"params.yaml": f"{head}finetune:\n  method: none\n\n{tail[tail.index('evaluate:') :]}"})
    assert own.repro("finetune").stages == ["design", "finetune"]
    assert json.loads(own.read("models/finetune.json")) == {"skipped": "finetune.method is none"}
    assert folder.verify(own.root / "models/finetune")["skipped"] == "finetune.method is none"
    assert own.read("models/finetune.csv").splitlines() == [",".join(curve.COLUMNS)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_saves_says_so_and_ends_in_the_same_bytes(
    own: Project, tmp_path: Path, number: signal.Signals
) -> None:
    own.edit("params.yaml", *LONG)
    own.repro("-s", "design")
    unbroken = own.copy(tmp_path / "unbroken")
    unbroken.repro("pretrain")
    process = own.start("python", "-m", "pipelines.pretrain")
    scratch = own.root / ".lmmodel/work/pretrain"
    until(lambda: any(scratch.glob("*/state/plan.json")), "pretrain to begin")
    os.kill(process.pid, number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "of 200, which is saved" in said
    assert "`dvc repro` goes on" in said
    assert any(scratch.glob("*/state/step-*"))
    assert "goes on after step" in own.repro("pretrain").output
    assert own.outputs() == unbroken.outputs()


def near(one: Project, other: Project) -> None:
    """Whether both pretrained to the same, but for rounding."""
    kept = [json.loads(project.read("models/pretrain.json")) for project in (one, other)]
    assert kept[0] == pytest.approx(kept[1], rel=1e-3)


def test_two_processes_do_what_one_does_and_the_checkpoint_says_so(own: Project, reproduced: Project) -> None:
    own.edit("params.yaml", "  compile: false", "  compile: false\n  processes: 2")
    own.repro("-s", "-f", "pretrain")
    near(own, reproduced)
    assert checkpoint.facts(own.root / "models/pretrain")["platform"]["processes"] == 2
    assert "processes" not in checkpoint.facts(reproduced.root / "models/pretrain")["platform"]


def test_what_torchrun_trained_is_taken_up(own: Project, reproduced: Project) -> None:
    own.edit("params.yaml", *LONG)
    own.repro("-s", "design")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    for said in ("validation", "taken up as it is"):
        ran = own.python(*torchrun, "pipelines.pretrain")
        assert ran.code == 0, ran.output
        assert said in ran.output
    assert "taken up as it is" in own.repro("-s", "pretrain").output
    assert json.loads(own.read("models/pretrain.json"))["steps"] == 200
    refused = own.python(*torchrun, "pipelines.corpus")
    assert refused.code != 0
    assert "corpus: runs in one process" in refused.output


def test_a_damaged_state_is_named_with_what_to_do(own: Project) -> None:
    own.edit("params.yaml", *LONG)
    own.repro("-s", "design")
    process = own.start("python", "-m", "pipelines.pretrain")
    scratch = own.root / ".lmmodel/work/pretrain"
    until(lambda: any(scratch.glob("*/state/plan.json")), "pretrain to begin")
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    state = next(scratch.glob("*/state/step-*/state.safetensors"))
    state.write_bytes(state.read_bytes()[:-9])
    ran = own.python("-m", "pipelines.pretrain")
    assert ran.code == 1
    assert "Traceback" not in ran.output
    assert "state.safetensors: has" in ran.output
    shutil.rmtree(state.parent)
    assert own.python("-m", "pipelines.pretrain").code == 0


def test_a_loss_that_is_not_finite_ends_in_two_lines(own: Project) -> None:
    own.edit("params.yaml", "{kind: adamw, learning_rate: 1e-3}", "{kind: adamw, learning_rate: 1e38}")
    ran = own.dvc("repro", "finetune")
    assert ran.code != 0
    assert "Traceback" not in ran.output
    assert "finetune: step 2 of 4: the loss is" in ran.output
    assert "The state before it is in" in ran.output or "No state had been saved" in ran.output


def test_a_batch_that_is_not_whole_sequences_is_refused_before_any_work(own: Project) -> None:
    own.edit("params.yaml", "batch_tokens: 512", "batch_tokens: 500")
    ran = own.python("-m", "pipelines.corpus")
    assert ran.code == 1
    assert (
        "params.yaml:32: pretrain.batch_tokens 500 is not a whole number of sequences of model.context 32" in ran.output
    )
