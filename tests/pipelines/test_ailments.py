"""What the doctor finds: each ailment explained, left as it is until it is asked to mend it, and then gone."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lmmodel.params.refusal import Refusal
from pipelines import ailments, cli, outlook, parameters, paths
from pipelines.dagster_dvc import health, turn
from pipelines.scratch import Scratch
from pipelines.tracking.store import Store
from tests.pipelines import a_project
from tests.project import STAGES, TREE, Project

LOCKS = (".dvc/tmp/lock", ".dvc/tmp/rwlock.lock")
"""Whoever looks holds them for a moment; dvc leaves its number in the first."""


@pytest.fixture
def here(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound project, with an environment in which nothing is missing."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(TREE))
    subprocess.run(["git", "init", "-q"], check=True)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@localhost")
    return finished


def told() -> str:
    return " ".join(f"{one.text} {one.remedy}" for one in ailments.examine())


def files(root: Path = Path()) -> dict[str, bytes]:
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(found.items()) if name not in LOCKS}


def doctor(*options: str) -> int:
    try:
        cli.main(["doctor", *options])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def gone() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write_book(text: str) -> None:
    turn.BOOK.parent.mkdir(parents=True, exist_ok=True)
    turn.BOOK.write_text(text)


def entry(pid: int) -> str:
    held = {"pid": pid, "cmd": "dvc repro"}
    return json.dumps({"write": {f"{Path.cwd()}/models/pretrain": held}, "read": {f"{Path.cwd()}/data/shards": [held]}})


def dead_entry() -> None:
    write_book(entry(gone()))


def cut_book() -> None:
    write_book(entry(gone())[:40])


def empty_book() -> None:
    write_book("")


def cut_lock() -> None:
    text = paths.LOCK.read_text()
    paths.LOCK.write_text(text[: text.rindex("path:") + 3])


def merged_lock() -> None:
    text = paths.LOCK.read_text()
    place = text.index("\n", text.index("\n  pretrain:") + 1) + 1
    paths.LOCK.write_text(f"{text[:place]}<<<<<<< HEAD\n    x: 1\n=======\n    x: 2\n>>>>>>> other\n{text[place:]}")


def vacant_run() -> None:
    """As dvc leaves it that is killed between making the folder and writing the entry."""
    Path(".dvc/cache/runs/31/31e7e634").mkdir(parents=True)


def broken_database() -> None:
    Path("mlflow.db").write_text("no database, but as long as one")


def torn_database() -> None:
    """Pages in its middle are gone."""
    with closing(sqlite3.connect("mlflow.db")) as store:
        store.execute("CREATE TABLE points (step INTEGER, value TEXT)")
        store.executemany("INSERT INTO points VALUES (?, ?)", [(step, "x" * 500) for step in range(200)])
        store.commit()
    content = bytearray(Path("mlflow.db").read_bytes())
    content[8192:40960] = bytes(range(256)) * 128
    Path("mlflow.db").write_bytes(content)


def cached(path: str, *, folder: bool = False) -> Path:
    """The object in the cache that `path` is laid out from, or the list of a folder's files."""
    found = [one for one in health.objects(Path()) if Path(path).resolve() in one.places]
    return next(one.path for one in found if one.oid.endswith(".dir") == folder)


def flip(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    path.chmod(0o444)


def flipped_byte() -> None:
    flip(cached("models/pretrain/result.txt"))


def flipped_metric() -> None:
    flip(cached("models/pretrain.json"))


def flipped_list() -> None:
    flip(cached("models/pretrain", folder=True))


def cache_gone() -> None:
    shutil.rmtree(".dvc/cache/files")


def cache_holed() -> None:
    cached("models/pretrain/result.txt").unlink()


def old_store() -> None:
    Path("mlruns/0").mkdir(parents=True)
    Path("mlruns/0/meta.yaml").write_text("name: Default\n")


def no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_NAME")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


AILMENTS: list[tuple[Callable[[], None], str]] = [
    (dead_entry, "which is gone: dvc may wait for it"),
    (cut_book, "rwlock was cut short by a dvc that was killed"),
    (empty_book, "rwlock was cut short by a dvc that was killed"),
    (cut_lock, "dvc.lock was cut short by a dvc that was killed"),
    (merged_lock, "dvc.lock holds both sides of a merge: every dvc command fails on it."),
    (vacant_run, ".dvc/cache/runs/31/31e7e634 was left empty by a dvc that was killed: `dvc repro` fails on its stage"),
    (broken_database, "mlflow.db is damaged (file is not a database): nothing is noted in MLflow any more."),
    (torn_database, "mlflow.db is damaged ("),
    (flipped_byte, "1 object in DVC's cache changed since DVC wrote it (models/pretrain/result.txt)"),
    (flipped_metric, "1 object in DVC's cache changed since DVC wrote it (models/pretrain.json)"),
    (flipped_list, "1 object in DVC's cache changed since DVC wrote it (models/pretrain)"),
    (
        cache_gone,
        "DVC's cache has lost what still lies here (models/design/declaration.json, models/design/corpus.json,",
    ),
    (cache_holed, "DVC's cache has lost what still lies here (models/pretrain): `dvc repro` would make it again."),
    (old_store, "./mlruns holds runs of another MLflow"),
]


def test_in_a_sound_project_nothing_is_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files()
    assert doctor() == 0
    assert capsys.readouterr().out == "All is sound.\n"
    assert files() == before


@pytest.mark.parametrize(("harm", "said"), AILMENTS, ids=[harm.__name__ for harm, _ in AILMENTS])
def test_an_ailment_is_explained_and_left_alone_and_mended_when_asked(
    here: Path, harm: Callable[[], None], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harm()
    before = files()
    assert doctor() == 1
    page = " ".join(capsys.readouterr().out.split())
    assert said in page
    assert "--fix" in page
    assert "1 thing is broken." in page
    assert files() == before
    assert doctor("--fix") == 0
    assert doctor() == 0
    assert capsys.readouterr().out.endswith("All is sound.\n")


def test_right_bytes_in_the_project_go_back_into_the_cache(here: Path) -> None:
    flipped_byte()
    flipped_list()
    assert doctor("--fix") == 0
    before = files(Path("models"))
    shutil.rmtree("models")
    subprocess.run([sys.executable, "-m", "dvc", "checkout", "-q"], check=True)
    assert files(Path("models")) == before


def test_what_the_cache_has_lost_need_not_be_made_again(here: Path) -> None:
    cache_gone()
    Path("data/shards.json").unlink()
    why = {step.stage: step.why[0] for step in outlook.plan(parameters.read())}
    told = "not in DVC's cache any more, but here: `lmmodel doctor --fix` saves making it again"
    assert why["pretrain"] == f"models/pretrain, models/pretrain.json and models/pretrain.csv: {told}"
    assert why["shards"].endswith(told)
    assert doctor("--fix") == 0
    left = {step.stage: step.why for step in outlook.plan(parameters.read()) if step.action != "unchanged"}
    assert left["shards"] == ("data/shards.json: not in DVC's cache",)
    assert {*left} <= {"shards", "pretrain", "finetune", "evaluate"}


def test_files_out_of_an_archive_are_made_a_repository(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(".git")
    a_project.dvc("config", "core.no_scm", "false")
    with pytest.raises(Refusal, match="dvc cannot read this project: .* is not a git repository"):
        outlook.plan(parameters.read())
    assert doctor() == 1
    assert "This is no git repository" in capsys.readouterr().out
    assert not Path(".git").exists()
    assert doctor("--fix") == 0
    assert doctor() == 0
    assert {step.action for step in outlook.plan(parameters.read())} == {"unchanged"}


def test_what_dvc_does_not_understand_is_told_in_its_words(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(".dvc/config").write_text("[core]\n    nosuch = true\n")
    assert doctor("--fix") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "dvc cannot read this project: config file error" in said
    assert "nosuch" in said


def test_wrong_bytes_that_were_laid_out_go_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flipped_metric()
    shutil.copyfile(cached("models/pretrain.json"), "models/pretrain.json")
    assert doctor("--fix") == 0
    assert "models/pretrain.json: `dvc pull` brings it back" in " ".join(capsys.readouterr().out.split())
    assert not Path("models/pretrain.json").exists()


def test_what_no_result_needs_is_read_when_that_is_asked_for(here: Path) -> None:
    stray = Path(".dvc/cache/files/md5/00/112233445566778899aabbccddeeff")
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("not that")
    assert doctor() == 0
    assert doctor("--deep") == 1
    assert doctor("--deep", "--fix") == 0
    assert not stray.exists()


@contextmanager
def zombie() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", ""])
    try:
        until = time.monotonic() + 60
        while "Z" not in Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]:
            assert time.monotonic() < until
            time.sleep(0.01)
        yield process.pid
    finally:
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_zombie_is_among_the_dead_and_the_living_are_left_in_peace(here: Path) -> None:
    with zombie() as pid:
        write_book(entry(pid))
        assert f"process {pid} (dvc repro) works here, which is gone" in told()
        assert doctor("--fix") == 0
        assert str(pid) not in turn.BOOK.read_text()
    write_book(entry(os.getpid()))
    assert told() == ""


def test_a_damaged_book_stays_while_a_dvc_is_at_work(here: Path) -> None:
    cut_book()
    dvc = here.parent / "dvc"  # by its name, what a person starts
    dvc.write_text("import time\nprint(flush=True)\ntime.sleep(300)\n")
    command = [sys.executable, str(dvc), "repro"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            assert f"process {process.pid} (dvc repro) is at work here: wait for it or stop it" in told()
            assert doctor("--fix") == 1
            assert turn.BOOK.exists()
        finally:
            process.kill()
    assert doctor("--fix") == 0


def test_scratch_of_finished_work_costs_room_and_breaks_nothing(here: Path) -> None:
    stage = paths.stage("shards")
    finished, other = Scratch(stage, "0" * 32), Scratch(stage, "1" * 32)
    for scratch in (finished, other):
        scratch.clear()
        shutil.copytree(stage.output, scratch.output, dirs_exist_ok=True)
        shutil.copyfile(stage.metrics, scratch.metrics)
    finished.finish()
    assert "1 scratch folder of finished work (shards) takes" in told()
    assert doctor() == 0
    assert finished.folder.exists()
    assert doctor("--fix") == 0
    assert not finished.folder.exists()
    assert other.folder.exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own use of SQLAlchemy
def test_a_run_that_nobody_runs_is_ended(here: Path) -> None:
    begin = {"identity": "a" * 32, "name": "run a", "stage": "pretrain", "candidate": None}
    Store().open({**begin, "parameters": {}, "tags": {}, "data": []}, 1)
    assert "MLflow shows run a as running, and no process does." in told()
    assert doctor() == 1
    assert doctor("--fix") == 0
    assert told() == ""


def test_git_is_given_a_name_where_it_has_none(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_name(monkeypatch)
    assert "git knows no user.name, and `dvc exp run` fails" in told()
    assert doctor() == 1
    assert doctor("--fix") == 0
    assert "name = " in Path(".git/config").read_text()
    assert told() == ""


def test_a_python_that_cannot_run_a_stage_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = here.parent / "other"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    (folder / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert f"with `python`, which is {folder}/python, and that lacks pydantic" in told()
    assert doctor("--fix") == 1


@pytest.mark.slow
def test_after_all_that_was_mended_the_pipeline_stands_as_it_did(
    reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = reproduced.copy(tmp_path / "project")
    monkeypatch.chdir(project.root)
    lock = project.read("dvc.lock")
    for harm in (old_store, flipped_byte_of_shards, flipped_and_laid_out, cut_lock, cut_book):
        harm()
    assert project.dvc("status").code != 0
    assert project.python("-m", "pipelines.cli", "doctor").code == 1
    ran = project.python("-m", "pipelines.cli", "doctor", "--fix")
    assert ran.code == 0, ran.output
    assert project.python("-m", "pipelines.cli", "doctor").code == 0
    assert set(project.repro().stages) <= {"pretrain"}
    assert project.read("dvc.lock") == lock
    assert project.outputs() == reproduced.outputs()
    assert project.repro().stages == []
    assert set(STAGES) <= set(paths.stages())


def flipped_byte_of_shards() -> None:
    flip(cached("data/shards/index.json"))


def flipped_and_laid_out() -> None:
    """Of a model: what lies in the project is as wrong as the cache."""
    flip(cached("models/pretrain.json"))
    shutil.copyfile(cached("models/pretrain.json"), "models/pretrain.json")
