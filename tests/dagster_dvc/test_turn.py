from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.dagster_dvc import graph, turn
from tests.dagster_dvc.test_runner import until
from tests.dagster_dvc.toy import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy.make(tmp_path)


@pytest.fixture
def someone() -> Iterator[int]:
    """A living process that has nothing to do with us."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate()


def enter(toy: Toy, *, write: dict[str, int] | None = None, read: dict[str, int] | None = None) -> Path:
    """Entries in dvc's book, path -> process, as dvc makes them."""

    def entry(pid: int) -> dict[str, object]:
        return {"pid": pid, "cmd": "/home/me/.venv/bin/dvc repro -s train"}

    book = {
        "write": {str(toy.root / path): entry(pid) for path, pid in (write or {}).items()},
        "read": {str(toy.root / path): [entry(pid)] for path, pid in (read or {}).items()},
    }
    toy.write({".dvc/tmp/rwlock": json.dumps(book)})
    return toy.root / ".dvc/tmp/rwlock"


def blockers(toy: Toy, name: str) -> list[str]:
    return [str(holder) for holder in turn.holders(toy.root, [graph.settled(toy.root)[name]])]


def test_a_writer_of_what_a_stage_reads_is_named(toy: Toy, someone: int) -> None:
    enter(toy, write={"data/left.txt": someone})
    assert blockers(toy, "train") == [f"process {someone} (dvc repro -s train), which works on data/left.txt"]
    assert blockers(toy, "settings") == []


def test_readers_do_not_disturb_readers(toy: Toy, someone: int) -> None:
    enter(toy, read={"data": someone})
    assert blockers(toy, "train") == []
    assert len(blockers(toy, "split")) == 1


def test_the_dead_are_taken_out_of_the_book(toy: Toy, someone: int) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    until(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_ZOMBIE)
    book = enter(toy, write={"models/weights.txt": zombie.pid, "scores.json": someone}, read={"data": zombie.pid})
    assert blockers(toy, "train") == []
    left = json.loads(book.read_text())
    assert list(left["write"]) == [str(toy.root / "scores.json")]
    assert left["read"] == {}
    toy.dvc("repro", "settings", "split", "train")
    zombie.wait()


def test_a_damaged_book_is_named_with_its_remedy(toy: Toy) -> None:
    toy.write({".dvc/tmp/rwlock": '{"write": {'})
    with pytest.raises(turn.BookError, match=r"rwlock is damaged.*delete that file"):
        blockers(toy, "train")


def test_who_holds_the_whole_repository_is_named(toy: Toy) -> None:
    (toy.root / ".dvc/tmp").mkdir(exist_ok=True)
    stages = [graph.settled(toy.root)["train"]]
    with graph.as_it_lies(toy.root) as project, project.lock:
        (holder,) = turn.holders(toy.root, stages)
    assert holder.pid == os.getpid()
    assert holder.path == "the whole repository"
    assert not list(turn.holders(toy.root, stages))


def test_commands_are_shown_as_people_type_them() -> None:
    assert turn.short("/x/bin/python /x/site-packages/dvc/__main__.py repro -s a") == "dvc repro -s a"
    assert turn.short("/x/bin/dvc push") == "dvc push"
    assert turn.short("vim dvc.yaml") == "vim dvc.yaml"


def test_a_project_is_free_while_nobody_works_in_it(toy: Toy, someone: int) -> None:
    assert turn.is_free(toy.root)
    book = enter(toy, read={"data": someone})
    assert not turn.is_free(toy.root)
    book.write_text("{")
    assert not turn.is_free(toy.root)
    book.write_text("{}")
    assert turn.is_free(toy.root)
