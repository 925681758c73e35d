from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.antlr_asset_selection.antlr_asset_selection import AntlrAssetSelectionParser
from dvc import analytics

from lmmodel import folder
from lmmodel.text import documents, tokenizer
from lmmodel.text.documents import Document
from pipelines import definitions, paths
from pipelines.dagster_dvc import graph, places
from pipelines.dagster_dvc.catalogue import Catalogue
from pipelines.dagster_dvc.checks import Finding
from pipelines.dagster_dvc.launcher import WatchedRunLauncher
from tests.project import STAGES, TREE, Project

LEARNT = ("pretrain", "finetune", "evaluate")
HEAVY = {"torch", "mlflow", "datasets", "transformers", "lm_eval", "pyarrow", "matplotlib", "pandas", "sentencepiece"}


def test_a_person_sees_eight_assets_in_the_order_of_the_pipeline() -> None:
    assets = definitions.defs.resolve_asset_graph()
    above = {
        key.to_user_string(): {parent.to_user_string() for parent in assets.get(key).parent_keys}
        for key in assets.get_all_asset_keys()
    }
    assert above == {
        "design": set(),
        "corpus": set(),
        "dialogues": set(),
        "tokenizer": {"corpus"},
        "shards": {"corpus", "tokenizer"},
        "pretrain": {"design", "shards", "tokenizer"},
        "finetune": {"pretrain", "dialogues"},
        "evaluate": {"pretrain", "finetune", "corpus", "dialogues"},
    }


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        ('+key:"shards"', {"corpus", "tokenizer", "shards"}),
        ('+key:"shards" and key:"corpus"+', {"corpus", "tokenizer", "shards"}),
        ('key:"shards"+1', {"shards", "pretrain"}),
    ],
)
def test_selections_are_understood(selection: str, chosen: set[str]) -> None:
    """Their grammar takes another antlr than the one that dvc's stable dependencies bring."""
    found = AntlrAssetSelectionParser(selection).asset_selection.resolve(definitions.defs.resolve_asset_graph())
    assert {key.to_user_string() for key in found} == chosen


def test_every_output_is_cached_and_none_persists() -> None:
    """Either would switch dvc's run cache off for its stage, and a clone that pulled would make it again."""
    with graph.as_it_lies(TREE) as project:
        outputs = [out for stage in project.repo.index.stages for out in stage.outs]
        assert len(outputs) > len(STAGES)
        assert all(out.use_cache and not out.persist for out in outputs)


def test_every_asset_but_design_is_checked() -> None:
    checked = {key.asset_key.to_user_string() for key in definitions.defs.resolve_asset_graph().asset_check_keys}
    assert checked == set(paths.stages()) - {"design"}


def test_nothing_starts_by_itself_until_somebody_switches_it_on() -> None:
    repository = definitions.defs.get_repository_def()
    running = {item.name for item in repository.sensor_defs if item.default_status == dg.DefaultSensorStatus.RUNNING}
    assert running == {"dvc_status"}
    assert {item.default_status for item in repository.schedule_defs} == {dg.DefaultScheduleStatus.STOPPED}
    assert {"new_text", "every_night"} <= {item.name for item in (*repository.sensor_defs, *repository.schedule_defs)}


def test_neither_dagster_nor_dvc_tells_anybody_of_its_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both would by default; here without what the Makefile sets."""
    for name in ("DAGSTER_DISABLE_TELEMETRY", "DO_NOT_TRACK", "DVC_NO_ANALYTICS", "DVC_TEST"):
        monkeypatch.delenv(name, raising=False)
    shutil.copyfile(TREE / "dagster.yaml", tmp_path / "dagster.yaml")
    monkeypatch.chdir(tmp_path)  # where its relative folders are made
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not instance.telemetry_enabled
        assert isinstance(instance.run_launcher, WatchedRunLauncher)
    monkeypatch.chdir(TREE)
    assert not analytics.is_enabled()


def test_loading_it_imports_nothing_that_only_a_run_needs() -> None:
    program = "import sys, pipelines.definitions; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=TREE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "dagster" in loaded
    assert loaded & HEAVY == set()


def test_design_comes_first_whatever_is_materialized_alone() -> None:
    known = Catalogue(graph.settled(TREE).values(), definitions.TRANSLATOR)
    first = {name: known.prerequisites(stage) for name, stage in known.stages.items()}
    assert first == {name: [] if name == "design" else ["design"] for name in paths.stages()}


def versions(project: Project) -> dict[str, str]:
    """Stage -> code version, as the definitions are when they are loaded now."""
    with graph.as_it_lies(project.root) as opened:
        known = Catalogue(opened.stages, definitions.Plans())
        return {name: known.code_version(stage, opened) for name, stage in known.stages.items()}


@pytest.mark.parametrize(
    ("file", "old", "new", "touched"),
    [
        ("params.yaml", "budget: {tokens: 4096}", "budget: {tokens: 8192}", {"design", *LEARNT}),
        ("params.yaml", "seed: 1", "seed: 2", {"design", *LEARNT}),
        ("params.yaml", "tokens_per_shard: 4000", "tokens_per_shard: 5000", {"design", "shards"}),
        ("params.yaml", "workers: 1", "workers: 2", set()),
        ("params.yaml", "seed: 1", "seed: 1  # the first", set()),
        ("pipelines/shards.py", "from __future__", "# a comment\nfrom __future__", {"design"}),
        ("pipelines/shards.py", "    corpus = job", "    print()\n    corpus = job", {"design", "shards", *LEARNT}),
    ],
)
def test_an_edit_shows_on_the_stages_it_touches_before_design_ran(
    project: Project, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, touched: set[str]
) -> None:
    monkeypatch.chdir(project.root)
    before = versions(project)
    project.edit(file, old, new)
    assert {name for name, version in versions(project).items() if version != before[name]} == touched


def test_what_is_foreseen_is_what_design_writes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    before = versions(project)
    project.repro("design")
    assert versions(project) == before
    with graph.as_it_lies(project.root) as opened:
        for stage in paths.stages().values():
            if stage.name != "design":
                assert definitions.Plans().foreseen(str(stage.plan)) == opened.found(str(stage.plan))


def test_a_parameter_file_that_is_wrong_does_not_keep_the_graph_from_being_shown(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    project.edit("params.yaml", "width: 32", "widht: 32")
    assert set(versions(project)) == set(paths.stages())


def test_every_asset_names_the_line_of_params_yaml_that_decides_it() -> None:
    lines = (TREE / "params.yaml").read_text(encoding="utf-8").splitlines()
    for key in definitions.defs.resolve_asset_graph().get_all_asset_keys():
        metadata = definitions.defs.resolve_asset_graph().get(key).metadata
        declared, decided = metadata[places.REFERENCES].code_references
        assert declared.label == f"dvc.yaml: stages.{key.to_user_string()}"
        assert Path(decided.file_path).name == "params.yaml"
        assert lines[decided.line_number - 1].startswith(decided.label.removeprefix("params.yaml: ") + ":")


MATERIALIZE = """
import json
from pipelines.definitions import defs
run = defs.resolve_implicit_global_asset_job_def().execute_in_process()
made = {event.asset_key.to_user_string(): event for event in run.get_asset_materialization_events()}
print(json.dumps({
    "outcomes": {name: event.materialization.metadata["outcome"].value for name, event in made.items()},
    "shown": {name: sorted(event.materialization.metadata) for name, event in made.items()},
    "seen": sorted({
        (event.asset_key.to_user_string(), name)
        for event in run.all_events if event.event_type_value == "ASSET_OBSERVATION"
        for name in event.asset_observation_data.asset_observation.metadata
    }),
    "failed": [check.check_name for check in run.get_asset_check_evaluations() if not check.passed],
}))
"""


@pytest.mark.slow
def test_materializing_everything_is_dvc_repro_with_checks(
    tmp_path: Path, reproduced: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From nothing to the same dvc.lock and the same bytes; every check of them passes, the loss is seen on the way."""
    monkeypatch.setenv("LMMODEL_TRACKING", "on")
    project = reproduced.copy(tmp_path / "project")
    assert project.run("git", "clean", "-fdxq").code == 0
    assert not (project.root / "dvc.lock").exists()
    ran = project.python("-c", MATERIALIZE)
    assert ran.code == 0, ran.output
    told = json.loads(ran.output.splitlines()[-1])
    assert told["outcomes"] == dict.fromkeys(STAGES, "executed")
    assert told["failed"] == []
    assert {"curve", "metrics", "validation_bits_per_byte", "mlflow"} <= set(told["shown"]["pretrain"])
    assert ["pretrain", "loss_nats"] in told["seen"]
    assert {"report", "samples", "metrics"} <= set(told["shown"]["evaluate"])
    assert project.read("dvc.lock") == reproduced.read("dvc.lock")
    assert project.outputs() == reproduced.outputs()


# --- checks


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's graph, and nothing that stages wrote."""
    shutil.copyfile(TREE / "dvc.yaml", tmp_path / "dvc.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def divided(name: str, train: list[str], validation: list[str]) -> Path:
    """A folder of documents (or what is like them), a document for each of these groups."""
    output = paths.stage(name).output
    output.mkdir(parents=True)
    sides = {"train": train, "validation": validation}
    rows = [(side, group) for side, groups in sides.items() for group in groups]
    texts = (f"text  with é and 𝄞 in {group}, {side}" for side, group in rows)
    some = ((side, Document(group, group, text)) for (side, group), text in zip(rows, texts, strict=True))
    documents.write(output, some)
    return output


def passed(finding: Finding) -> bool:
    return not finding.problems


def test_a_group_on_both_sides_is_found(here: Path) -> None:
    divided("corpus", ["a", "b"], ["c"])
    assert passed(definitions.no_group_on_both_sides())
    shutil.rmtree("data")
    divided("corpus", ["a", "b"], ["b"])
    assert definitions.no_group_on_both_sides().problems == ["b is in train and in validation"]


def test_a_group_of_dialogues_that_documents_train_on_is_found(here: Path) -> None:
    divided("corpus", ["a", "b"], ["c"])
    divided("dialogues", ["a"], ["b"])
    assert definitions.no_group_on_both_sides().problems == ["b is in train and in validation"]
    shutil.rmtree("data/dialogues")
    divided("dialogues", ["a", "d"], ["c"])
    finding = definitions.no_group_on_both_sides()
    assert passed(finding)
    assert finding.figures == {"train_groups": 3, "validation_groups": 1}


def test_text_that_does_not_come_back_is_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    divided("corpus", ["a"], ["b", "c"])
    output = paths.stage("tokenizer").output
    output.mkdir(parents=True)
    tokenizer.train([], algorithm="byte", vocab_size=261).save(output)
    finding = definitions.text_survives_the_round_trip()
    assert passed(finding)
    assert finding.figures["documents"] == 2
    decode = tokenizer.Tokenizer.decode
    monkeypatch.setattr(tokenizer.Tokenizer, "decode", lambda self, ids: decode(self, ids).replace("  ", " "))
    assert len(definitions.text_survives_the_round_trip().problems) == 2


def test_a_shard_that_changed_is_named(here: Path) -> None:
    output = paths.stage("shards").output
    output.mkdir(parents=True)
    (output / "train-00000.npy").write_bytes(b"tokens")
    folder.seal(output, {})
    assert passed(definitions.checksums_match())
    (output / "train-00000.npy").write_bytes(b"token5")
    assert "train-00000.npy" in definitions.checksums_match().problems[0]


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_a_loss_no_better_than_guessing_is_found(here: Path, stage: str) -> None:
    examine = {"pretrain": definitions.pretraining_learnt, "finetune": definitions.finetuning_learnt}[stage]
    written(paths.DECLARATION, {"vocab_size": 100})
    for loss_nats, sound in ((4.5, True), (4.7, False), (float("nan"), False)):
        written(paths.stage(stage).metrics, {"validation_loss_nats": loss_nats})
        assert passed(examine()) is sound


def test_a_stage_that_was_skipped_has_nothing_to_show(here: Path) -> None:
    written(paths.stage("finetune").metrics, {"skipped": "finetune.method is none"})
    assert passed(definitions.finetuning_learnt())


def test_a_task_without_a_score_is_named(here: Path) -> None:
    stage = paths.stage("evaluate")
    written(stage.plan, {"section": {"tasks": ["one", "two"]}})
    written(paths.stage("finetune").metrics, {"validation_loss_nats": 1.0})
    scores = {f"{model}.{task}.acc": 0.5 for model in ("pretrain", "finetune") for task in ("one", "two")}
    written(stage.metrics, scores)
    assert passed(definitions.every_task_is_scored())
    written(stage.metrics, {**scores, "finetune.two.acc": float("nan")})
    assert definitions.every_task_is_scored().problems == ["finetune.two has no score"]
    written(paths.stage("finetune").metrics, {"skipped": "finetune.method is none"})
    assert passed(definitions.every_task_is_scored())
