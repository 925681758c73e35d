"""Checkpoints as models of MLflow, by reference: one a training, whatever happens to it, with what was found of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines import tracking
from pipelines.tracking import store as store_module
from pipelines.tracking.delivery import deliver_abandoned
from pipelines.tracking.location import uri
from pipelines.tracking.notes import begin, place
from tests.pipelines import a_project
from tests.pipelines.a_store import opened, runs, settle, steps_of, with_database

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own use of SQLAlchemy

TRAINED, TUNED = "a" * 32, "b" * 32
SCORES = {
    "pretrain.choice.acc": 0.3,
    "finetune.choice.acc": 0.6,
    "finetune.choice.acc_interval": 0.1,
    "chance.acc": 0.2,
}


def trained(identity: str, stage: str = "pretrain", *, bits: float = 2.0, **more: Any) -> None:
    """The notes of a training."""
    writer = begin(place(), identity)
    writer.add(begin=opened(identity, stage=stage, tags={"mlflow.source.git.commit": "c0ffee"}, **more))
    for step in range(5):
        writer.add(metrics={"loss_nats": 5.0 - step, "validation_bits_per_byte": bits + 4 - step}, step=step)
    writer.add(figures={"parameters": 1000})
    writer.add(checkpoint={"path": f"models/{stage}"})
    writer.add(end="FINISHED")
    writer.close()


def judged(scores: dict[str, float], identity: str = "e" * 32) -> None:
    """The notes of an evaluation of both."""
    writer = begin(place(), identity)
    data = [read("pretrain", TRAINED, "1.dir"), read("finetune", TUNED, "2.dir")]
    writer.add(begin=opened(identity, stage="evaluate", candidate=TRAINED, data=data))
    writer.add(figures=scores)
    writer.add(end="FINISHED")
    writer.close()


def read(stage: str, identity: str, oid: str) -> dict[str, Any]:
    """An item of what a work read."""
    made = {"stage": stage, "identity": identity}
    return {"name": f"models/{stage}", "digest": oid, "context": "evaluation", "dvc": oid, "checkpoint": made}


def models() -> dict[str, Any]:
    """The models in the store of this folder by what they are; one of each."""
    from mlflow import MlflowClient

    found = list(MlflowClient(uri()).search_logged_models([runs()[0].info.experiment_id]))
    assert len({model.tags["dvc.path"] for model in found}) == len(found)
    return {model.tags["dvc.path"]: model for model in found}


def numbers(model: Any) -> dict[str, float]:
    """What is known of a model; each number once."""
    assert len({point.key for point in model.metrics}) == len(model.metrics)
    return {point.key: point.value for point in model.metrics}


def test_a_training_puts_out_one_model_that_says_what_it_is_and_holds_nothing(here: Path) -> None:
    trained(TRAINED)
    deliver_abandoned(place())
    [model] = models().values()
    [run] = runs()
    assert (model.status, model.source_run_id) == ("READY", run.info.run_id)
    assert numbers(model) == {"validation_bits_per_byte": 2.0, "parameters": 1000.0}
    assert model.params == {"model.width": "64"}
    assert model.tags["lmmodel.identity"] == TRAINED
    assert model.tags["mlflow.source.git.commit"] == "c0ffee"
    assert [one.model_id for one in run.outputs.model_outputs] == [model.model_id]
    assert steps_of(run, "validation_bits_per_byte") == list(range(5))
    assert not list((here / ".lmmodel").rglob("MLmodel"))


def test_what_is_trained_again_or_carried_again_is_the_same_model(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(TRAINED)
    hand_in = store_module.checkpoints.hand_in
    broken = iter([True, False, False])

    def cut_off(*given: Any) -> None:
        hand_in(*given)
        if next(broken):
            raise ConnectionError

    monkeypatch.setattr(store_module.checkpoints, "hand_in", cut_off)
    deliver_abandoned(place())
    trained(TRAINED)
    deliver_abandoned(place())
    [model] = models().values()
    [run] = runs()
    assert numbers(model) == {"validation_bits_per_byte": 2.0, "parameters": 1000.0}
    assert len(run.outputs.model_outputs) == 1
    assert steps_of(run, "validation_bits_per_byte") == list(range(5))


@pytest.mark.parametrize("first", ["trainings", "evaluation"])
def test_what_an_evaluation_finds_stands_in_the_model_that_it_is_about(here: Path, first: str) -> None:
    from mlflow import MlflowClient

    if first == "evaluation":  # its carrier may be the faster
        judged(SCORES)
        deliver_abandoned(place())
    trained(TRAINED)
    trained(TUNED, "finetune", candidate=TRAINED, bits=1.0)
    deliver_abandoned(place())
    judged(SCORES)
    judged(SCORES)
    deliver_abandoned(place())
    found = models()
    assert {path: model.tags["dvc.md5"] for path, model in found.items()} == {
        "models/pretrain": "1.dir",
        "models/finetune": "2.dir",
    }
    assert numbers(found["models/pretrain"])["checkpoint/choice.acc"] == 0.3
    tuned = numbers(found["models/finetune"])
    assert tuned == {"validation_bits_per_byte": 1.0, "parameters": 1000.0, "checkpoint/choice.acc": 0.6}
    by_stage = {run.data.tags["lmmodel.stage"]: run for run in runs()}
    known = {model.model_id for model in found.values()}
    judging = MlflowClient(uri()).get_run(by_stage["evaluate"].info.run_id)  # a search leaves models out
    assert {one.model_id for one in judging.inputs.model_inputs} == known
    assert set(by_stage) == {"pretrain", "finetune", "evaluate"}
    assert len(runs()) == 3


def test_what_was_restored_gets_its_models_too(finished: Path, empty_database: Path) -> None:
    with_database(finished, empty_database)
    tracking.rebuild()
    found = models()
    assert set(found) == {"models/pretrain", "models/finetune"}
    lock = Path("dvc.lock").read_text()
    assert all(f"md5: {model.tags['dvc.md5']}\n" in lock for model in found.values())
    assert found["models/pretrain"].params["model.width"] == "128"
    assert numbers(found["models/finetune"])["checkpoint/dialogues_choice.acc"] == 0.582
    with tracking.follow(a_project.job("finetune")):
        pass
    settle()
    assert {model.model_id for model in models().values()} == {model.model_id for model in found.values()}
