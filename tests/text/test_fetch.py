from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from lmmodel.params.refusal import Refusal
from lmmodel.text import fetch as fetching
from lmmodel.text.fetch import fetch, pauses
from tests.text.web import Web

DATA = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_LONGEST_WAIT_SECONDS", 0.0)


def put(web: Web, data: bytes = DATA) -> tuple[str, str]:
    (web.folder / "file.bin").write_bytes(data)
    return web.url("file.bin"), sha256(data).hexdigest()


def test_a_broken_connection_goes_on_where_it_broke(web: Web, tmp_path: Path) -> None:
    url, digest = put(web)
    web.breaks["file.bin"] = 2
    target = fetch(url, tmp_path / "got", sha256=digest, retries=3)
    assert target.read_bytes() == DATA
    half = len(DATA) // 2
    assert [wanted for _, wanted in web.asked] == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_a_kill_costs_only_what_was_not_there_yet(web: Web, tmp_path: Path) -> None:
    url, digest = put(web)
    (tmp_path / "got.part").write_bytes(DATA[:1000])
    assert fetch(url, tmp_path / "got", sha256=digest, retries=0).read_bytes() == DATA
    assert [wanted for _, wanted in web.asked] == ["bytes=1000-"]
    assert fetch(url, tmp_path / "got", sha256=digest, retries=0).read_bytes() == DATA
    assert len(web.asked) == 1


@pytest.mark.parametrize("left", [DATA, b"of another file" * 9])
def test_what_was_left_of_another_file_is_thrown_away(web: Web, tmp_path: Path, left: bytes) -> None:
    url, digest = put(web, DATA[:5000])
    (tmp_path / "got.part").write_bytes(left)
    assert fetch(url, tmp_path / "got", sha256=digest, retries=0).read_bytes() == DATA[:5000]


def test_a_file_that_changed_is_refused_by_name(web: Web, tmp_path: Path) -> None:
    url, digest = put(web)
    put(web, b"something else")
    with pytest.raises(Refusal, match=rf"{url}: has changed: its SHA-256 is .*, not {digest}"):
        fetch(url, tmp_path / "got", sha256=digest, retries=0)


def test_a_connection_that_keeps_breaking_is_given_up(web: Web, tmp_path: Path) -> None:
    url, digest = put(web)
    web.breaks["file.bin"] = 99
    with pytest.raises(Refusal, match=r"file\.bin: cannot be fetched: the connection broke after"):
        fetch(url, tmp_path / "got", sha256=digest, retries=2)
    assert len(web.asked) == 3


def test_what_is_not_there_is_not_asked_for_twice(web: Web, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"nothing\.bin: cannot be fetched: .*404"):
        fetch(web.url("nothing.bin"), tmp_path / "got", sha256="0", retries=5)
    assert len(web.asked) == 1


def test_pauses_grow_and_end() -> None:
    assert list(pauses(0)) == [None]
    assert len(list(pauses(3))) == 4
