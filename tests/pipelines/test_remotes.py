"""Results on a remote, a folder or real S3: pushed, pulled into a fresh clone, broken off, and tampered with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipelines.dagster_dvc import remotes
from tests.pipelines import stores
from tests.pipelines.stores import Bucket, Folder
from tests.project import STAGES, Project

LACKING = [name for name in ("dvc_s3", "moto", "flask_cors") if find_spec(name) is None]
S3 = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"a bucket takes {', '.join(LACKING)}: `make servers` installs it"),
]
in_a_bucket = pytest.mark.parametrize("store", [pytest.param("bucket", marks=S3)], indirect=True)
LINES = "data/corpus/lines.txt"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """dvc's own patience with a server that is gone would take minutes."""
    known = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**known, "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    with stores.bucket(tmp_path / "s3") as made:
        yield made


@pytest.fixture(params=["folder", pytest.param("bucket", marks=S3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Folder | Bucket:
    """Each kind of remote."""
    if request.param == "bucket":
        made: Bucket = request.getfixturevalue("bucket")
        return made
    return Folder(tmp_path / "remote")


@pytest.fixture
def project(made_once: Project, store: Folder | Bucket, tmp_path: Path) -> Project:
    """One whose results are committed, with the store as its remote, and nothing pushed yet."""
    return with_remote(made_once.copy(tmp_path / "project"), store)


def with_remote(project: Project, store: Folder | Bucket) -> Project:
    must(project, "remote", "add", "-d", "storage", store.settings["url"])
    for key, value in {**store.settings, "verify": "true"}.items():
        must(project, "remote", "modify", "storage", key, value)
    for command in (["add", "-A"], ["commit", "-q", "-m", "results"]):
        assert project.run("git", *command).code == 0
    return project


def must(project: Project, *command: str) -> str:
    """What a dvc command says that has to succeed."""
    ran = project.dvc(*command)
    assert ran.code == 0, ran.output
    return ran.output


def cached(project: Project) -> set[str]:
    return stores.names_below(project.root / ".dvc/cache")


def oid(project: Project, path: str) -> str:
    return hashlib.md5((project.root / path).read_bytes(), usedforsecurity=False).hexdigest()


def assert_nothing_is_left_to_do(project: Project) -> None:
    assert must(project, "status") == "Data and pipelines are up to date.\n"
    told = project.python("-m", "pipelines.cli", "plan")
    assert told.output == "params.yaml is sound, and everything is up to date.\n", told.output
    assert project.repro().stages == []


def test_what_was_pushed_is_pulled_elsewhere_and_nothing_is_left_to_do(
    project: Project, store: Folder | Bucket, tmp_path: Path
) -> None:
    must(project, "push")
    assert store.names() == cached(project)
    other = project.clone(tmp_path / "elsewhere")
    must(other, "pull")
    assert other.outputs() == project.outputs()
    assert_nothing_is_left_to_do(other)


def test_a_push_of_which_one_object_was_refused_is_completed_by_the_next(
    project: Project, store: Folder | Bucket, tmp_path: Path
) -> None:
    whole = cached(project)
    with store.refusing(oid(project, LINES)):
        assert project.dvc("push").code != 0
    there = store.names()
    assert 0 < len(there & whole) < len(whole)
    assert f"{len(whole - there)} files pushed" in must(project, "push")
    assert store.names() == whole
    other = project.clone(tmp_path / "elsewhere")
    must(other, "pull")
    assert other.outputs() == project.outputs()


def test_a_pull_of_which_one_object_was_refused_is_completed_by_the_next(
    project: Project, store: Folder | Bucket, tmp_path: Path
) -> None:
    must(project, "push")
    other = project.clone(tmp_path / "elsewhere")
    with store.refusing(oid(project, LINES)):
        assert other.dvc("pull").code != 0
    before = cached(other)
    assert 0 < len(before) < len(cached(project))
    assert not (other.root / LINES).exists()
    must(other, "pull")
    assert other.outputs() == project.outputs()
    assert_nothing_is_left_to_do(other)


@in_a_bucket
def test_a_server_that_goes_away_in_the_middle_of_an_object_costs_that_object_alone(
    project: Project, store: Bucket, tmp_path: Path
) -> None:
    whole = cached(project)
    with store.breaking(4):
        assert project.dvc("push").code != 0
    assert 0 < len(store.names()) < len(whole)
    must(project, "push")
    assert sorted(store.sent("PUT")) == sorted(whole)
    other = project.clone(tmp_path / "elsewhere")
    with store.breaking(9):
        assert other.dvc("pull").code != 0
    arrived = cached(other)
    assert 0 < len(arrived) < len(whole)
    store.sent("GET")
    must(other, "pull")
    again = {name for name in store.sent("GET") if not name.endswith(".dir")}
    assert again == {name for name in whole - arrived if not name.endswith(".dir")}
    assert other.outputs() == project.outputs()
    assert_nothing_is_left_to_do(other)


def test_an_object_that_was_tampered_with_never_comes_into_the_project(
    project: Project, store: Folder | Bucket, tmp_path: Path
) -> None:
    must(project, "push")
    right, name = (project.root / LINES).read_bytes(), oid(project, LINES)
    store.put(name, right.swapcase())
    other = project.clone(tmp_path / "elsewhere")
    pulled = other.dvc("pull")
    assert pulled.code != 0
    assert "data/corpus" in pulled.output
    assert name not in cached(other)
    assert not (other.root / LINES).exists()
    store.put(name, right)
    must(other, "pull")
    assert other.outputs() == project.outputs()


@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_a_remote_that_is_believed_unread_is_told_of_and_mended_by_the_doctor(
    project: Project, store: Folder, tmp_path: Path
) -> None:
    must(project, "push")
    store.put(oid(project, LINES), b"something else")
    must(project, "remote", "modify", "storage", "--unset", "verify")
    must(project, "remote", "add", "--local", "own", str(tmp_path / "own"))
    assert remotes.unverified(project.root) == ["storage", "own"]
    told = project.python("-m", "pipelines.cli", "doctor")
    assert told.code == 1
    assert "What comes from storage and own is believed unread" in " ".join(told.output.split())
    assert project.python("-m", "pipelines.cli", "doctor", "--fix").code == 0
    assert remotes.unverified(project.root) == []
    assert project.run("git", "status", "--short").output == ""  # as it was committed: `own` is not for others
    other = project.clone(tmp_path / "elsewhere")
    assert other.dvc("pull").code != 0
    assert not (other.root / LINES).exists()


@in_a_bucket
def test_a_whole_pipeline_comes_back_out_of_a_bucket(reproduced: Project, store: Bucket, tmp_path: Path) -> None:
    project = with_remote(reproduced.copy(tmp_path / "project"), store)
    must(project, "push", "--run-cache")
    other = project.clone(tmp_path / "elsewhere")
    must(other, "pull", "--run-cache")
    assert other.outputs() == project.outputs()
    assert must(other, "status") == "Data and pipelines are up to date.\n"
    other.edit("params.yaml", "tokens: 4096}", "tokens: 4608}")
    assert other.repro().stages == [name for name in STAGES if name in ("design", "pretrain", "finetune", "evaluate")]
    project.edit("params.yaml", "tokens: 4096}", "tokens: 4608}")
    must(other, "push", "--run-cache")
    must(project, "pull", "--run-cache")
    assert project.repro("--pull").stages == []
    assert project.outputs() == other.outputs()
