"""The design stage: what it lets through, what it stops, and what it costs when nothing of the design changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmmodel import folder
from pipelines.fingerprint import REPORTING, reports
from tests.pipelines.small import small
from tests.project import STAGES, Project, raw, until

PEEKING = '''"""Looks one token ahead."""

import torch
from torch import nn

from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose."""


class Attention(nn.Module):
    honours = frozenset({"queries and keys"})

    def __init__(self, options, sizes, *, position, norm):
        super().__init__()
        self.out = nn.Linear(sizes.width, sizes.width, bias=False)

    def forward(self, x_BTD, span):
        return self.out(x_BTD + torch.roll(x_BTD, -1, dims=1))
'''


@pytest.fixture(scope="module")
def designed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which design ran."""
    project = Project.make(tmp_path_factory.mktemp("designed") / "project", raw())
    ran = project.python("-m", "pipelines.design")
    assert ran.code == 0, ran.output
    return project


def plan(project: Project, stage: str) -> dict:
    return json.loads(project.read(f"models/design/{stage}.json"))


def test_every_later_stage_has_a_plan_in_canonical_bytes(designed: Project) -> None:
    written = designed.outputs()
    assert [name for name in written if name.startswith("models/design/")] == sorted(
        f"models/design/{name}.json" for name in ("declaration", *STAGES[1:])
    )
    for name, data in written.items():
        if name.startswith("models/"):
            assert data.decode() == folder.canonical(json.loads(data))


def test_plans_leave_nothing_open(designed: Project) -> None:
    section = plan(designed, "pretrain")["section"]
    assert section["seed"] == 1
    assert section["clip"] == 1.0  # not in the tiny file
    assert section["schedule"]["kind"] == "warmup_stable_decay"
    assert "seed" not in plan(designed, "corpus")["section"]


def test_plans_hold_the_kinds_that_were_chosen_and_no_others(designed: Project) -> None:
    trained = set(plan(designed, "pretrain")["code"])
    assert {"lmmodel.architecture.norm.rms", "lmmodel.architecture.position.rotary"} < trained
    assert {"lmmodel.learning.optimizer.muon", "pipelines.pretrain"} < trained
    assert "lmmodel.architecture.norm.layer" not in trained
    assert "lmmodel.architecture.check" not in trained
    read = set(plan(designed, "corpus")["code"])
    assert "lmmodel.text.source.files" in read
    assert not any(name.startswith(("lmmodel.architecture.", "lmmodel.learning.")) for name in read)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_plans_name_no_module_that_only_reports(designed: Project, stage: str) -> None:
    assert not [name for name in plan(designed, stage)["code"] if reports(name)]
    assert "pipelines.work" in REPORTING


def test_plans_know_what_stands_before_them(designed: Project) -> None:
    assert plan(designed, "corpus")["after"] == {}
    assert list(plan(designed, "shards")["after"]) == ["corpus", "tokenizer"]
    assert list(plan(designed, "evaluate")["after"]) == sorted(STAGES[1:7])


def test_a_design_is_judged_once(designed: Project, tmp_path: Path) -> None:
    """An edit elsewhere costs no torch: the verdict on this design is remembered."""
    project = designed.copy(tmp_path / "project")
    project.write({"lmmodel/text/words.py": '"""New."""\n'})
    run = "import runpy, sys; runpy.run_module('pipelines.design', run_name='__main__', alter_sys=True);"
    ran = project.python("-c", f"{run} print('torch' in sys.modules)")
    assert ran.output.split() == ["False"]
    assert project.outputs() == designed.outputs()
    project.write({"lmmodel/architecture/norm/rms.py": project.read("lmmodel/architecture/norm/rms.py") + "\nX = 1\n"})
    assert project.python("-c", f"{run} print('torch' in sys.modules)").output.split() == ["True"]


def test_a_design_that_looks_ahead_stops_the_pipeline(designed: Project, tmp_path: Path) -> None:
    project = designed.copy(tmp_path / "project")
    project.write({"experiments/peeking.py": PEEKING})
    project.edit("params.yaml", "attention: {kind: multi_head, kv_heads: 1}", "attention: experiments/peeking.py")
    ran = project.dvc("repro")
    assert ran.code != 0
    assert ran.stages == ["design"]
    assert "Traceback" not in ran.output
    assert "experiments/peeking.py" in ran.output
    assert "caus" in ran.output
    assert not (project.root / "data/corpus").exists()


def test_a_mistake_in_the_last_section_is_told_before_the_first_stage(designed: Project, tmp_path: Path) -> None:
    project = designed.copy(tmp_path / "project")
    project.edit("params.yaml", "{kind: rotary}", "{kind: rotery}")
    ran = project.dvc("repro")
    assert ran.stages == ["design"]
    assert "params.yaml:11: model.design.position.kind 'rotery' is not one of" in ran.output
    assert "did you mean 'rotary'?" in ran.output
    assert "Traceback" not in ran.output


def test_what_fine_tuning_cannot_teach_is_told_before_the_first_stage(designed: Project, tmp_path: Path) -> None:
    project = designed.copy(tmp_path / "project")
    project.edit("params.yaml", "finetune:", "finetune:\n  method: {kind: lora, matrices: [qeury]}")
    ran = project.python("-m", "pipelines.design")
    assert ran.code == 1
    assert "params.yaml: finetune.method.matrices 'qeury' is not one of" in ran.output
    assert "Traceback" not in ran.output


def test_what_fine_tuning_could_not_be_done_in_is_told_before_pretraining(designed: Project, tmp_path: Path) -> None:
    project = designed.copy(tmp_path / "project")
    project.edit("params.yaml", "1e-3}\n  precision: float32", "1e-3}\n  precision: float8")
    ran = project.python("-m", "pipelines.pretrain")
    assert ran.code == 1
    assert ran.output.startswith("pretrain: finetune comes next: params.yaml: finetune.precision 'float8' takes a GPU")


def test_a_kind_of_ones_own_is_part_of_what_it_is_used_in(designed: Project, tmp_path: Path) -> None:
    project = designed.copy(tmp_path / "project")
    project.edit("params.yaml", "{kind: multi_head, kv_heads: 1}", "{kind: experiments/fading.py, half_life: 8}")
    ran = project.python("-m", "pipelines.design")
    assert ran.code == 0, ran.output
    for stage in STAGES[1:]:
        model = stage in ("pretrain", "finetune", "evaluate")
        assert ("experiments.fading" in plan(project, stage)["code"]) == model
        assert ("lmmodel.architecture.attention.multi_head" in plan(project, stage)["code"]) is False


def test_an_edit_while_design_runs(tmp_path: Path) -> None:
    project = small(tmp_path / "project")
    (project.root / "hold").touch()
    process = project.start("python", "-m", "pipelines.design")
    until(lambda: (project.root / "judging").exists(), "design to begin")
    project.edit("params.yaml", "width: 32", "width: 64")
    (project.root / "hold").unlink()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "width was 32 and is 64 now" in output
    assert not (project.root / "models/design.json").exists()
