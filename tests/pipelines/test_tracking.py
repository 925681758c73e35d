"""Tracking against a real MLflow with a real database: one run a work, whatever happens to the work or to the store."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import paths, tracking
from pipelines.tracking import notes as notes_module
from pipelines.tracking.delivery import deliver, deliver_abandoned
from pipelines.tracking.location import uri
from pipelines.tracking.notes import Reader, Writer, begin, place
from pipelines.tracking.opening import flat, opening
from pipelines.tracking.store import Store
from tests.pipelines import a_project
from tests.pipelines.a_store import noted, opened, runs, settle, steps_of, with_database

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own use of SQLAlchemy


def test_the_same_work_followed_twice_is_one_run(here: Path) -> None:
    noted("one", steps=range(50))
    noted("one", steps=range(30, 80))
    assert deliver_abandoned(place()) == 2
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["lmmodel.identity"] == "one"
    assert run.data.params == {"model.width": "64"}


def test_a_work_that_goes_on_from_before_its_last_point_repeats_no_step(here: Path) -> None:
    noted("one", steps=range(50), end=None)
    deliver_abandoned(place())
    assert [run.info.status for run in runs()] == ["KILLED"]
    noted("one", steps=range(30, 80))
    deliver_abandoned(place())
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert steps_of(run, "loss_nats") == list(range(80))


def test_a_parameter_that_is_told_otherwise_later_stays_and_a_new_one_is_added(here: Path) -> None:
    noted("one", steps=range(3), parameters={"launch.threads": "1"})
    noted("one", steps=range(3, 6), parameters={"launch.threads": "2", "launch.processes": "2"})
    deliver_abandoned(place())
    [run] = runs()
    assert run.data.params == {"launch.threads": "1", "launch.processes": "2"}
    assert steps_of(run, "loss_nats") == list(range(6))


def test_a_folder_that_mlflow_left_behind_does_not_turn_it_to_files(here: Path) -> None:
    Path("mlruns/0").mkdir(parents=True)
    noted("one", steps=range(3))
    deliver_abandoned(place())
    assert len(runs()) == 1
    assert list(Path("mlruns").rglob("*")) == [Path("mlruns/0")]


def test_notes_are_gone_once_they_are_carried(here: Path) -> None:
    noted("one", steps=range(3))
    assert list(place().glob("[0-9]*"))
    deliver_abandoned(place())
    assert not list(place().glob("[0-9]*"))


def test_figures_of_a_nested_run_rise_to_its_candidate(here: Path) -> None:
    noted("candidate", steps=range(3))
    writer = noted("judged", steps=range(0), end=None, stage="evaluate", candidate="candidate")
    again = Writer(writer.folder.with_name(f"{writer.folder.name}-again"))
    again.add(begin=opened("judged", stage="evaluate", candidate="candidate"))
    again.add(figures={"fine-tuned": {"choice": 0.58, "interval": [0.5, 0.6]}, "name": "x", "lost": float("nan")})
    again.add(end="FINISHED")
    again.close()
    deliver_abandoned(place())
    by_stage = {run.data.tags["lmmodel.stage"]: run for run in runs()}
    assert by_stage["evaluate"].data.tags["mlflow.parentRunId"] == by_stage["pretrain"].info.run_id
    assert by_stage["evaluate"].data.metrics == {"fine-tuned/choice": 0.58}
    assert by_stage["pretrain"].data.metrics["evaluate/fine-tuned/choice"] == 0.58
    assert by_stage["pretrain"].info.status == "FINISHED"


def test_a_nested_run_that_comes_first_gets_a_candidate_that_is_completed_later(here: Path) -> None:
    noted("tuned", steps=range(3), stage="finetune", candidate="candidate")
    deliver_abandoned(place())
    noted("candidate", steps=range(3))
    deliver_abandoned(place())
    by_stage = {run.data.tags.get("lmmodel.stage"): run for run in runs()}
    assert sorted(by_stage) == ["finetune", "pretrain"]
    assert by_stage["finetune"].data.tags["mlflow.parentRunId"] == by_stage["pretrain"].info.run_id


def test_what_mlflow_refuses_is_left_out_and_the_rest_arrives(here: Path) -> None:
    long = "x" * 10_000
    writer = begin(place(), "one")
    parameters = {"long": long, "a key, with commas": "1"} | {f"p{n}": str(n) for n in range(250)}
    writer.add(begin=opened("one", parameters=parameters, data=[{"name": "n", "digest": "d" * 99, "context": "c"}]))
    writer.add(metrics={"loss (nats)": 1.5, "bits,per,byte": 2.0}, step=1)
    writer.add(end="FINISHED")
    writer.close()
    deliver_abandoned(place())
    [run] = runs()
    assert len(run.data.params) == 252
    assert len(run.data.params["long"]) == 6000
    assert run.data.metrics == {"loss _nats_": 1.5, "bits_per_byte": 2.0}
    assert run.info.status == "FINISHED"


def test_a_run_that_a_person_deleted_is_known_and_comes_back_only_with_its_work(here: Path) -> None:
    from mlflow import MlflowClient

    noted("one", steps=range(3))
    deliver_abandoned(place())
    MlflowClient(uri()).delete_run(runs()[0].info.run_id)
    assert not runs()
    assert Store().has("one")
    noted("one", steps=range(5))
    deliver_abandoned(place())
    assert steps_of(runs()[0], "loss_nats") == list(range(5))


def test_a_store_that_cannot_be_reached_loses_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.tracking.delivery._PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens on the port of `discard`
    noted("one", steps=range(20))
    assert deliver_abandoned(place()) == 0
    assert list(place().glob("[0-9]*"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert deliver_abandoned(place()) == 1
    assert steps_of(runs()[0], "loss_nats") == list(range(20))


def test_notes_are_carried_by_one_at_a_time(here: Path) -> None:
    writer = noted("one", steps=range(3))
    held = Reader(writer.folder)
    assert deliver_abandoned(place()) == 0
    held.close()
    assert deliver_abandoned(place()) == 1


def test_notes_whose_writer_lives_are_nobody_elses(here: Path) -> None:
    writer = begin(place(), "one")
    writer.add(begin=opened("one"))
    assert deliver_abandoned(place()) == 0
    writer.close()
    assert deliver_abandoned(place()) == 1


def test_a_line_that_is_still_being_written_waits(here: Path) -> None:
    writer = begin(place(), "one")
    writer.add(step=1)
    reader = Reader(writer.folder)
    with (writer.folder / "notes.jsonl").open("a") as file:
        file.write('{"step": ')
        file.flush()
        assert [record["step"] for record in reader.new()] == [1]
        file.write("2}\n")
    assert [record["step"] for record in reader.new()] == [2]
    reader.close()
    writer.close()


def test_an_artifact_is_kept_as_it_was(here: Path) -> None:
    page = here / "report.md"
    page.write_text("first")
    writer = begin(place(), "one")
    writer.add(begin=opened("one"))
    writer.keep(page)
    page.unlink()
    writer.add(end="FINISHED")
    writer.close()
    deliver_abandoned(place())
    run_id = runs()[0].info.run_id
    [kept] = [path for path in Path(".lmmodel/artifacts").rglob("report.md") if run_id in str(path)]
    assert kept.read_text() == "first"


def test_what_is_too_large_for_an_artifact_is_refused_before_it_is_copied(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes_module, "_ARTIFACT_BYTES", 3)
    (here / "weights").write_bytes(b"1234")
    writer = begin(place(), "one")
    with pytest.raises(ValueError, match="too large"):
        writer.keep(here / "weights")
    writer.close()


def test_a_live_work_is_followed_until_its_process_is_gone(here: Path) -> None:
    writer = begin(place(), "one")
    writer.add(begin=opened("one"))
    reader = Reader(writer.folder)
    lives = iter([True, True, False, False])

    def is_alive() -> bool:
        alive = next(lives)
        writer.add(metrics={"loss_nats": 1.0}, step=time.monotonic_ns() // 1000 if alive else 0)
        return alive

    assert deliver(reader, is_alive=is_alive)
    writer.close()
    [run] = runs()
    assert run.info.status == "KILLED"
    assert len(steps_of(run, "loss_nats")) == 2


def test_the_clone_of_a_queued_experiment_shares_the_project_store() -> None:
    assert paths.home(Path("/project/.dvc/tmp/exps/tmpab12")) == Path("/project")
    assert paths.home(Path("/project/.dvc/tmp/exps/standalone/tmpab12/")) == Path("/project")
    assert paths.home(Path("/project")) == Path("/project")


def test_layers_are_told_together_where_they_agree() -> None:
    layers = [{"attention": {"kind": "multi_head", "window": window}} for window in (64, 64, None, 64)]
    assert flat({"model": {"width": 8, "layers": layers, "accept": []}}) == {
        "model.width": "8",
        "model.layers.attention.kind": "multi_head",
        "model.layers.attention.window": "64 x2, -, 64",
        "model.accept": "[]",
    }


def test_what_was_restored_gets_the_runs_that_its_work_would_have_had(finished: Path, empty_database: Path) -> None:
    with_database(finished, empty_database)
    assert tracking.missing() == ["pretrain", "finetune", "evaluate"]
    assert tracking.rebuild() == ["pretrain", "finetune", "evaluate"]
    assert tracking.missing() == []
    assert tracking.rebuild() == []
    by_stage = {run.data.tags["lmmodel.stage"]: run for run in runs()}
    candidate = by_stage["pretrain"]
    assert {run.data.tags.get("mlflow.parentRunId") for run in by_stage.values()} == {None, candidate.info.run_id}
    assert {run.info.status for run in by_stage.values()} == {"FINISHED"}
    assert steps_of(candidate, "validation_bits_per_byte") == [20, 30]
    assert candidate.data.metrics["evaluate/finetune.dialogues_choice.acc"] == 0.582
    assert candidate.data.params["model.width"] == "128"
    assert candidate.data.params["seed"] == "1"
    assert candidate.data.params["launch.precision"] == "bfloat16"
    assert candidate.data.params["launch.steps"] == "30"
    read = {item.dataset.name: {tag.key: tag.value for tag in item.tags} for item in candidate.inputs.dataset_inputs}
    assert set(read) == {"data/shards", "data/tokenizer"}
    assert all(f"md5: {tags['dvc.md5']}\n" in Path("dvc.lock").read_text() for tags in read.values())


def test_each_run_is_described_by_the_design_the_table_and_samples(finished: Path, empty_database: Path) -> None:
    with_database(finished, empty_database)
    tracking.rebuild()
    pages = {run.data.tags["lmmodel.stage"]: run.data.tags.get("mlflow.note.content", "") for run in runs()}
    heads = {stage: [line for line in page.splitlines() if line.startswith("# ")] for stage, page in pages.items()}
    assert heads["pretrain"] == ["# Design", "# Evaluation", "# Samples"]
    assert pages["pretrain"] == pages["finetune"] == pages["evaluate"]
    assert "6 layers, width 128" in pages["pretrain"]
    assert "│    multi_head" in pages["pretrain"]
    assert Path("models/evaluate/report.md").read_text().strip() in pages["pretrain"]
    assert "Return disk usage statistics." in pages["pretrain"]


def test_a_live_evaluation_describes_its_run_as_a_rebuilt_one_does(finished: Path, empty_database: Path) -> None:
    with_database(finished, empty_database)
    job = a_project.job("evaluate")
    with tracking.follow(job) as run:
        for name in ("report.md", "samples.md"):
            (job.output / name).write_bytes((finished / "models/evaluate" / name).read_bytes())
        run.artifact(job.output / "report.md")
    settle()
    [live] = [run for run in runs() if run.data.tags.get("lmmodel.stage") == "evaluate"]
    page = live.data.tags["mlflow.note.content"]
    tracking.rebuild()
    [candidate] = [run for run in runs() if run.data.tags.get("lmmodel.stage") == "pretrain"]
    assert candidate.data.tags["mlflow.note.content"] == page
    assert page.startswith("# Design\n")


def test_a_candidate_that_only_a_nested_run_has_spoken_of_is_rebuilt_too(finished: Path, empty_database: Path) -> None:
    with_database(finished, empty_database)
    with tracking.follow(a_project.job("finetune"), {"kept": 1}):
        pass
    settle()
    assert tracking.missing() == ["pretrain", "evaluate"]
    assert tracking.rebuild() == ["pretrain", "evaluate"]
    assert tracking.missing() == []
    assert sorted(run.data.tags["lmmodel.stage"] for run in runs()) == ["evaluate", "finetune", "pretrain"]


def test_a_work_whose_notes_are_still_on_their_way_is_not_rebuilt_from_less(
    finished: Path, empty_database: Path
) -> None:
    with_database(finished, empty_database)
    job = a_project.job("pretrain")
    writer = begin(place(), f"pretrain-{job.identity[:12]}")  # its carrier waits for a store that does not answer
    writer.add(begin=opening(job, {}))
    for step in range(1, 31):
        writer.add(metrics={"loss_nats": 1 / step}, step=step)
    assert tracking.rebuild() == ["finetune", "evaluate"]
    writer.add(end="FINISHED")
    writer.close()
    assert tracking.rebuild() == []
    [candidate] = [run for run in runs() if run.data.tags.get("lmmodel.stage") == "pretrain"]
    assert steps_of(candidate, "loss_nats") == list(range(1, 31))


def test_a_followed_work_and_its_rebuilt_twin_are_the_same_run(finished: Path, empty_database: Path) -> None:
    with_database(finished, empty_database)
    tracking.rebuild()
    before = {run.info.run_id for run in runs()}
    with tracking.follow(a_project.job("finetune"), {"kept": 1}) as run:
        run.log({"loss_nats": 2.0}, step=40)
        run.tag({"platform.device": "cpu"})
    settle()
    assert {run.info.run_id for run in runs()} == before
    [tuned] = [run for run in runs() if run.data.tags["lmmodel.stage"] == "finetune"]
    assert steps_of(tuned, "loss_nats") == [10, 20, 30, 40]
    assert tuned.data.tags["platform.device"] == "cpu"
    assert tuned.data.params["kept"] == "1"


WORK = """
import sys, time
from tests.pipelines import a_project
from pipelines import paths, tracking
with tracking.follow(a_project.job("pretrain")) as run:
    for step in range(int(sys.argv[1]), int(sys.argv[2])):
        run.log({"loss_nats": 1 / (1 + step)}, step=step)
    if "wait" in sys.argv:
        print("there", flush=True)
        time.sleep(600)
"""


def test_another_door_sees_the_points_of_a_work_and_where_its_run_is(finished: Path, empty_database: Path) -> None:
    with_database(finished, empty_database)
    with tracking.follow(a_project.job("pretrain")) as run:
        run.log({"loss_nats": 9.0}, step=1)
        onlooker = tracking.Onlooker("pretrain")
        assert onlooker() == {}  # of a work that began before anybody looked on
    onlooker, other = tracking.Onlooker("pretrain"), tracking.Onlooker("finetune")
    with tracking.follow(a_project.job("pretrain")) as run:
        run.log({"loss_nats": 2.0, "rate": 0.1}, step=3)
        run.log({"loss_nats": 1.5}, step=4)
        assert onlooker() == {"step": 4, "loss_nats": 1.5, "rate": 0.1}
        assert onlooker() == other() == {}
        run.log({"loss_nats": 1.0}, step=5)
        assert onlooker() == {"step": 5, "loss_nats": 1.0}
    settle()
    assert onlooker() == {}
    [only] = runs()
    assert str(tracking.address("pretrain")).endswith(f"/#/experiments/1/runs/{only.info.run_id}")
    assert "searchFilter" in str(tracking.address("evaluate"))
    assert tracking.address("corpus") is None


def test_a_work_that_is_killed_and_goes_on_leaves_one_run_without_a_hole(
    finished: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_database(finished, empty_database)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-c", WORK]
    first = subprocess.Popen([*command, "0", "50", "wait"], stdout=subprocess.PIPE, start_new_session=True)
    assert first.stdout
    with first.stdout as said:
        assert said.readline() == b"there\n"
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    settle()
    assert [run.info.status for run in runs()] == ["KILLED"]
    subprocess.run([*command, "30", "80"], check=True, timeout=60)
    settle()
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert steps_of(run, "loss_nats") == list(range(80))


LAST = """
import shutil
from pathlib import Path
from tests.pipelines import a_project
from pipelines import tracking
with tracking.follow(a_project.job("evaluate")) as run:
    run.figures({"finetune.dialogues_choice.acc": 0.6})
    shutil.rmtree(Path.cwd())
"""


def test_a_queued_experiments_last_notes_arrive_though_its_copy_is_deleted_with_the_code_in_it(
    finished: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_database(finished, empty_database)
    copy = finished / ".dvc/tmp/exps/one"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns(".dvc", ".lmmodel", "mlflow.db"))
    for code in ("lmmodel", "pipelines"):
        shutil.copytree(ROOT / code, copy / code, dirs_exist_ok=True)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subprocess.run([sys.executable, "-c", LAST], cwd=copy, check=True, timeout=60)
    assert not copy.exists()
    settle()
    [judged] = [run for run in runs() if run.data.tags.get("lmmodel.stage") == "evaluate"]
    assert judged.info.status == "FINISHED"
    assert judged.data.metrics == {"finetune.dialogues_choice.acc": 0.6}


def test_a_failing_work_is_a_failed_run_and_its_error_comes_through(finished: Path, empty_database: Path) -> None:
    with_database(finished, empty_database)
    with pytest.raises(ZeroDivisionError), tracking.follow(a_project.job("pretrain")):
        raise ZeroDivisionError
    settle()
    assert [run.info.status for run in runs()] == ["FAILED"]


def test_tracking_that_cannot_write_lets_the_work_go_on(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(".lmmodel").write_text("a file where a folder should be")
    job = a_project.job("pretrain", scratch=Path("scratch"))
    with tracking.follow(job) as run:
        run.log({"loss_nats": 1.0}, step=1)
        run.figures({"loss_nats": 1.0})
        run.artifact(Path("nowhere"))
    assert "The work goes on." in capsys.readouterr().err


def test_switched_off_nothing_is_noted(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMMODEL_TRACKING", "off")
    with tracking.follow(a_project.job("pretrain")) as run:
        run.log({"loss_nats": 1.0}, step=1)
    assert not place().exists()


def test_a_run_that_nobody_runs_is_found_and_ended_with_what_was_noted_of_it(here: Path) -> None:
    names = {letter: letter * 32 for letter in "abc"}
    store = Store()
    for identity in names.values():
        store.open(opened(identity), 1)
    held = begin(place(), f"pretrain-{names['a'][:12]}")
    noted(names["b"], steps=range(3)).close()
    assert [run.name for run in tracking.left_running()] == [f"pretrain of {names[letter]}" for letter in "bc"]
    tracking.end_left()
    assert tracking.left_running() == []
    held.close()
    assert [run.name for run in tracking.left_running()] == [f"pretrain of {names['a']}"]
    ended = {run.data.tags["lmmodel.identity"]: run.info.status for run in runs()}
    assert ended == {names["a"]: "RUNNING", names["b"]: "FINISHED", names["c"]: "KILLED"}
