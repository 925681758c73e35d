"""Who is crowned and what a crowned model may run, against a real registry and a real cache of DVC."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lmmodel import folder
from lmmodel.architecture.model import build
from lmmodel.architecture.resolve import resolve
from lmmodel.learning import checkpoint
from lmmodel.params.document import Document
from lmmodel.text.tokenizer import train
from pipelines import paths
from pipelines.tracking import champion, registry
from pipelines.tracking.location import uri
from tests.pipelines import a_project
from tests.pipelines.a_store import with_database
from tests.project import TREE

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # MLflow's own use of SQLAlchemy
    pytest.mark.filterwarnings("ignore::UserWarning"),  # MLflow would have type hints and an example
]

KIND = "experiments/fading.py"


def crowned(name: str = "lmmodel") -> tuple[str, float] | None:
    """Number and bits per byte of the champion."""
    from mlflow import MlflowClient

    tags = registry.champion(MlflowClient(uri()), name, champion.ALIAS)
    if tags is None:
        return None
    version = MlflowClient(uri()).get_model_version_by_alias(name, champion.ALIAS)
    return str(version.version), float(tags["validation_bits_per_byte"])


def measured(bits_per_byte: float) -> None:
    """Have the pretraining that stands here come to so much."""
    metrics = paths.stage("pretrain").metrics
    metrics.write_text(json.dumps({**json.loads(metrics.read_text()), "validation_bits_per_byte": bits_per_byte}))
    a_project.dvc("commit", "--force", "--quiet")


def held_out(text: str) -> None:
    """Have this be the text that no training sees."""
    corpus = paths.stage("corpus").output
    (corpus / "validation.parquet").write_text(text)
    folder.seal(corpus, {})


def test_only_what_is_better_on_the_same_text_succeeds_and_each_experiment_has_its_own(
    finished: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_database(finished, empty_database)
    held_out("this")
    assert champion.crown() == "1"
    measured(2.5)
    assert champion.crown() is None
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team/other")
    assert champion.crown() == "1"
    assert crowned("team_other") == ("1", 2.5)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert crowned() == ("1", 1.914)
    held_out("another")
    assert champion.crown() == "2"
    assert crowned() == ("2", 2.5)
    assert champion.crown() is None


def test_that_nobody_is_crowned_is_told_from_a_registry_that_does_not_answer(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri())
    assert registry.champion(client, "lmmodel", champion.ALIAS) is None
    client.create_registered_model("lmmodel")
    assert registry.champion(client, "lmmodel", champion.ALIAS) is None
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowException):
        registry.champion(MlflowClient("http://127.0.0.1:9"), "lmmodel", champion.ALIAS)


@pytest.fixture
def fading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the champion is told of a checkpoint with a kind of one's own, in a project whose cache has it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    shutil.copyfile(TREE / KIND, KIND)
    (tmp_path / "tokenizer").mkdir()
    train([], algorithm="byte", vocab_size=261).save(tmp_path / "tokenizer")
    sizes = {"width": 16, "depth": 1, "heads": 2, "context": 16, "design": {"attention": {"kind": KIND}}}
    model = build(resolve(Document("small", {"model": sizes}, {}), vocab_size=261), seed=0)
    checkpoint.save(tmp_path / "model", model=model, tokenizer=tmp_path / "tokenizer", facts={})
    a_project.dvc("init", "--no-scm", "--quiet")
    a_project.dvc("add", "--quiet", "model")
    (out,) = YAML(typ="safe").load(Path("model.dvc"))["outs"]
    shutil.rmtree("model")
    return {"project": str(tmp_path), "oid": out["md5"]}


def loaded(config: dict[str, str]) -> Any:
    """As MLflow loads what was registered."""
    from mlflow import pyfunc

    entry = registry.Entry("lmmodel", TREE / "pipelines/tracking/served.py", config, {}, model=None)  # type: ignore[arg-type]
    registry._write(Path("registered"), entry)
    return pyfunc.load_model("registered")


def test_a_champion_with_a_kind_of_ones_own_is_loaded_with_the_projects_code(fading: dict[str, str]) -> None:
    [said] = loaded(fading).predict(["Return a"], params={"tokens": 4, "temperature": 0.0})
    assert isinstance(said, str)


@pytest.mark.parametrize("text", ["raise SystemExit\n", None])
def test_a_champion_whose_code_is_not_the_projects_is_refused(fading: dict[str, str], text: str | None) -> None:
    if text:
        Path(KIND).write_text(text)
    else:
        Path(KIND).unlink()
    with pytest.raises(Exception, match=r"fading\.py: is not what this model was trained with"):
        loaded(fading)
