from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.dagster_dvc import assets, graph, sensor
from tests.dagster_dvc.dagster_says import materialize, unsynced
from tests.dagster_dvc.toy import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy.make(tmp_path)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(toy: Toy, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    """One look of the sensor; what it reports is stored, as Dagster's daemon does."""
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        result = sensor.watch(toy.root)(context)
    if isinstance(result, dg.SensorResult):
        for event in result.asset_events:
            instance.report_runless_asset_event(event)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def reported(result: dg.SensorResult | dg.SkipReason) -> set[str]:
    assert isinstance(result, dg.SensorResult)
    return {event.asset_key.to_user_string() for event in result.asset_events}


def test_what_ran_in_a_terminal_is_reported_once_with_its_figures(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.dvc("repro")
    first = tick(toy, instance)
    assert reported(first) == {"settings", "split/data/left.txt", "split/data/right.txt", "train", "judge"}
    assert unsynced(toy, instance) == set()
    assert isinstance(first, dg.SensorResult)
    assert isinstance(tick(toy, instance, first.cursor), dg.SkipReason)
    assert reported(tick(toy, instance)) == set()

    toy.edit("params.yaml", "rate: 0.5", "rate: 0.7")
    toy.dvc("repro", "train")
    assert unsynced(toy, instance) == {"train"}
    second = tick(toy, instance, first.cursor)
    assert reported(second) == {"train"}
    assert unsynced(toy, instance) == set()

    event = instance.get_latest_materialization_event(dg.AssetKey("train"))
    assert event
    assert event.asset_materialization
    assert event.asset_materialization.metadata["outcome"] == dg.MetadataValue.text("outside Dagster")
    assert event.asset_materialization.metadata["loss"] == dg.MetadataValue.float(0.25)


def test_what_dagster_ran_is_not_reported_again(toy: Toy, instance: dg.DagsterInstance) -> None:
    materialize(toy, instance, "settings")
    assert reported(tick(toy, instance)) == set()


def asked(toy: Toy, instance: dg.DagsterInstance, loaded: dg.RepositoryDefinition) -> str:
    """What one look says that has nothing to report, by definitions that were loaded before."""
    with dg.build_sensor_context(instance=instance, repository_def=loaded) as context:
        result = sensor.watch(toy.root)(context)
    assert isinstance(result, dg.SkipReason) or not result.asset_events
    return str(result.skip_message) if isinstance(result, dg.SkipReason) else ""


def test_what_was_edited_since_the_definitions_were_loaded_is_named(
    toy: Toy, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor, "_busy", lambda instance: True)
    loaded = dg.Definitions(assets=assets.load(toy.root)).get_repository_def()
    assert "Nothing new" in asked(toy, instance, loaded)
    toy.edit("params.yaml", "rate: 0.5", "# how fast\nrate: 0.5")  # dvc sees no change; the links to lines do
    assert "Changed: settings, train; reload the definitions" in asked(toy, instance, loaded)
    toy.edit("params.yaml", "# how fast\nrate: 0.5", "rate: 0.5")
    assert "Nothing new" in asked(toy, instance, loaded)
    toy.edit("params.yaml", "rate: 0.5", "rate: 0.7")
    assert "Changed: train; reload the definitions" in asked(toy, instance, loaded)
    toy.edit("dvc.yaml", "  judge:", "  decide:")
    assert "Changed: decide, judge, train; reload" in asked(toy, instance, loaded)
    toy.write({"dvc.yaml": "stages: ["})
    assert "dvc cannot read the project" in asked(toy, instance, loaded)


def test_code_that_is_half_written_is_not_loaded(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy.root)
    monkeypatch.syspath_prepend(str(toy.root))
    toy.write({"half_written.py": "x = 1\n"})
    import half_written  # type: ignore[import-not-found]

    assert half_written.x == 1
    assert sensor._unreadable() == ""
    toy.write({"half_written.py": "x = (\n"})
    assert "half_written.py cannot be read" in sensor._unreadable()
    monkeypatch.delitem(sys.modules, "half_written")


def test_it_does_not_wait_while_dvc_writes(toy: Toy, instance: dg.DagsterInstance) -> None:
    with graph.as_it_lies(toy.root) as project, project.lock:
        assert isinstance(tick(toy, instance), dg.SkipReason)


def test_it_keeps_out_of_the_way_of_a_run(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.dvc("repro", "settings")
    job = dg.Definitions(jobs=[dg.job(name="other")(lambda: None)]).get_job_def("other")
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert isinstance(tick(toy, instance), dg.SkipReason)


def test_new_files_are_taken_in_with_all_that_follows_once_it_is_switched_on(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    watching = sensor.arrivals(toy.root, "raw.txt")
    assert watching.default_status == dg.DefaultSensorStatus.STOPPED

    def look() -> dg.RunRequest | dg.SkipReason:
        with dg.build_sensor_context(instance=instance) as context:
            result = watching(context)
        assert isinstance(result, dg.RunRequest | dg.SkipReason)
        return result

    toy.dvc("repro")
    assert isinstance(look(), dg.SkipReason)
    toy.edit("params.yaml", "rate: 0.5", "rate: 0.7")
    assert isinstance(look(), dg.SkipReason)  # an edit may be half of what somebody is about
    toy.write({"raw.txt": "new text"})
    first, again = look(), look()
    assert isinstance(first, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    assert {key.to_user_string() for key in first.asset_selection or ()} == {
        "split/data/left.txt",
        "split/data/right.txt",
        "train",
        "judge",
    }
    assert first.run_key == again.run_key
    toy.dvc("repro")
    assert isinstance(look(), dg.SkipReason)
    toy.write({"raw.txt": "text"})
    assert isinstance(look(), dg.RunRequest)
    toy.dvc("repro")
    toy.write({"raw.txt": "new text"})
    later = look()
    assert isinstance(later, dg.RunRequest)
    assert later.run_key != first.run_key
