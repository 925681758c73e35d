"""A variant from the launchpad is a candidate in MLflow, and the best candidate is crowned without being asked."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.project import Project, until

pytestmark = pytest.mark.slow

LAUNCH = """
from pipelines import definitions
config = {"ops": {"variant_experiment": {"config": {"changes": ["model.depth=3"], "name": "deeper"}}}}
print("launched", definitions.defs.resolve_job_def("variant").execute_in_process(run_config=config).success)
"""
CANDIDATES = """
    SELECT runs.status, params.value FROM runs JOIN params USING (run_uuid)
    WHERE params.key = 'model.depth'
"""
CHAMPION = """
    SELECT alias.version, tag.value FROM registered_model_aliases alias
    JOIN model_version_tags tag ON tag.name = alias.name AND tag.version = alias.version
    WHERE alias.alias = 'champion' AND tag.key = 'validation_bits_per_byte'
"""
CROWNED = """
    SELECT path.tag_value FROM model_versions version
    JOIN logged_model_tags path ON version.source = 'models:/' || path.model_id
    WHERE path.tag_key = 'dvc.path'
"""
PRETRAINED = """
    SELECT hash.tag_value FROM logged_model_tags hash JOIN logged_model_tags path USING (model_id)
    WHERE hash.tag_key = 'dvc.md5' AND path.tag_key = 'dvc.path' AND path.tag_value = 'models/pretrain'
"""
FETCH = """
from pathlib import Path
from pipelines.tracking.fetching import checkpoint
print("lies in", checkpoint(Path.cwd(), "{oid}"))
"""
STAGES = "SELECT value FROM tags WHERE key = 'lmmodel.stage' ORDER BY value"
MODELS = """
    SELECT path.tag_value FROM logged_model_tags path WHERE path.tag_key = 'dvc.path' ORDER BY path.tag_value
"""


def asked(project: Project, query: str) -> list[tuple[Any, ...]]:
    """What the project's own database answers; nothing before it is there."""
    if not (project.root / "mlflow.db").exists():
        return []
    with closing(sqlite3.connect(project.root / "mlflow.db")) as store:
        return store.execute(query).fetchall()


def carried(project: Project) -> None:
    until(lambda: not list(project.root.glob(".lmmodel/tracking/[0-9]*")), "the runs to arrive", seconds=300)


def fetched(project: Project) -> dict[str, bytes]:
    """What DVC has under the hash that the model of the pretraining names."""
    [(oid,)] = asked(project, PRETRAINED)
    told = project.python("-c", FETCH.format(oid=oid))
    assert told.code == 0, told.output
    return below(Path(told.output.partition("lies in ")[2].splitlines()[0]))


def below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def followed(reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Results that are committed, in a project whose stages go to MLflow from here on."""
    monkeypatch.setenv("LMMODEL_TRACKING", "on")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = reproduced.copy(tmp_path / "project")
    for command in (["add", "-A"], ["commit", "-q", "-m", "results"]):
        assert project.run("git", *command).code == 0
    return project


def test_a_variant_from_the_launchpad_is_a_candidate_in_the_projects_own_store(followed: Project) -> None:
    launched = followed.python("-c", LAUNCH)
    assert "launched True" in launched.output, launched.output
    carried(followed)
    assert asked(followed, CANDIDATES) == [("FINISHED", "3")]
    assert asked(followed, STAGES) == [("evaluate",), ("finetune",), ("pretrain",)]
    assert asked(followed, CHAMPION) == []  # its checkpoint stands nowhere that lasts
    assert followed.run("git", "status", "--short").output == ""


def test_evaluate_crowns_what_is_better_than_the_champion_and_only_that(followed: Project) -> None:
    followed.edit("params.yaml", "seed: 1\n", "seed: 2\n")
    followed.repro()
    carried(followed)
    first = asked(followed, CHAMPION)
    assert [version for version, _ in first] == [1]
    assert asked(followed, STAGES) == [("evaluate",), ("finetune",), ("pretrain",)]
    assert asked(followed, CROWNED) == [("models/finetune",)]
    assert asked(followed, MODELS) == [("models/finetune",), ("models/pretrain",)]
    assert float(first[0][1]) == json.loads(followed.read("models/pretrain.json"))["validation_bits_per_byte"]
    assert fetched(followed) == below(followed.root / "models/pretrain")
    followed.edit("params.yaml", "budget: {tokens: 4096}", "budget: {tokens: 1024}")
    followed.repro()
    carried(followed)
    assert json.loads(followed.read("models/pretrain.json"))["validation_bits_per_byte"] > float(first[0][1])
    assert asked(followed, CHAMPION) == first
