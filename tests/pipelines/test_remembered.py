from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import fingerprint
from pipelines.remembered import MOST, Memory


def never() -> object:
    raise AssertionError("it was made again")


def test_what_was_read_once_is_not_read_again_by_another_process(tmp_path: Path) -> None:
    first = Memory(tmp_path / "memory.json")
    assert first.recall("a", lambda: {"x": [1, "one"]}) == {"x": [1, "one"]}
    first.keep()
    assert Memory(tmp_path / "memory.json").recall("a", never) == {"x": [1, "one"]}


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"a": '])
def test_a_damaged_memory_is_an_empty_one(tmp_path: Path, damage: str) -> None:
    (tmp_path / "memory.json").write_text(damage)
    assert Memory(tmp_path / "memory.json").recall("a", lambda: 7) == 7


def test_where_no_project_is_nothing_is_written(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "nowhere" / "memory.json")
    memory.recall("a", lambda: 1)
    memory.keep()
    assert list(tmp_path.iterdir()) == []


def test_only_the_latest_are_kept(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.json")
    for number in range(MOST + 1):
        memory.recall(str(number), lambda: 0)
    memory.keep()
    later = Memory(tmp_path / "memory.json")
    assert later.recall("0", lambda: 1) == 1
    assert later.recall(str(MOST), never) == 0


def test_a_remembered_fingerprint_is_that_of_reading_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".lmmodel").mkdir()
    found = []
    for _ in range(2):
        monkeypatch.setattr(fingerprint, "_MEMORY", Memory(Path(".lmmodel/sources.json")))
        fingerprint._read.cache_clear()
        found.append(fingerprint.closure(["pipelines.pretrain"], root))
    assert (tmp_path / ".lmmodel/sources.json").is_file()
    assert found[0] == found[1]
    monkeypatch.setattr(fingerprint, "_facts", lambda *_: never())
    fingerprint._read.cache_clear()
    monkeypatch.setattr(fingerprint, "_MEMORY", Memory(Path(".lmmodel/sources.json")))
    assert fingerprint.closure(["pipelines.pretrain"], root) == found[0]
