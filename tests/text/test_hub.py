from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from lmmodel.params.refusal import Refusal
from lmmodel.text import fetch
from lmmodel.text.hub import Hub, rows, within
from tests.text import tables
from tests.text.web import Web


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    from lmmodel.text import hub

    monkeypatch.setattr(fetch, "_LONGEST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(hub, "_BREAK_SECONDS", 0)


@pytest.fixture
def served(web: Web) -> Web:
    """Two files of 400 long rows each, in groups of 50."""
    random = Random(1)
    for name in ("a", "b"):
        some = [{"text": f"{name}{number} " + random.randbytes(500).hex()} for number in range(400)]
        tables.parquet(web.folder / f"{name}.parquet", some, rows_per_group=50)
    return web


def hub_of(web: Web, **more: object) -> Hub:
    files = {"train": [web.url("a.parquet"), web.url("b.parquet")]}
    return Hub.model_validate({"name": "parquet", "data_files": files, **more})


def names(hub: Hub, tmp_path: Path, *, split: str = "train") -> list[str]:
    found = rows(hub, split=split, place="corpus.source", scratch=tmp_path / "scratch")
    return [row["text"].split(" ")[0] for row in found]


ALL = [f"{name}{number}" for name in "ab" for number in range(400)]


def test_parquet_on_the_web_is_streamed(served: Web, tmp_path: Path) -> None:
    assert names(hub_of(served), tmp_path) == ALL
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(("file", "breaks"), [("a.parquet", 1), ("a.parquet", 4), ("b.parquet", 4)])
def test_a_connection_that_breaks_half_way_costs_no_row_and_doubles_none(
    served: Web, tmp_path: Path, file: str, breaks: int
) -> None:
    served.breaks[file] = breaks
    assert names(hub_of(served), tmp_path) == ALL
    assert served.breaks[file] == 0


@pytest.mark.parametrize("busy", [0, 7])
@pytest.mark.parametrize("fragile", [range(1 << 40), range(9_000_000, 20_000_000)], ids=["anywhere", "in the middle"])
def test_a_break_within_a_file_costs_no_row_and_doubles_none(
    web: Web, tmp_path: Path, busy: int, fragile: range
) -> None:
    random = Random(1)
    some = [{"text": f"{number} " + random.randbytes(50_000).hex()} for number in range(300)]
    tables.lines(web.folder / "a.jsonl", some)
    web.breaks["a.jsonl"], web.fragile, web.busy = 4, fragile, busy
    hub = Hub(name="json", data_files={"train": (web.url("a.jsonl"),)}, retries=50)
    assert names(hub, tmp_path) == [str(number) for number in range(300)]
    assert web.breaks["a.jsonl"] == 0


def test_a_connection_that_keeps_breaking_is_refused_by_name(served: Web, tmp_path: Path) -> None:
    served.breaks["b.parquet"] = 10_000
    with pytest.raises(Refusal, match=r"corpus\.source: parquet cannot be reached; is there a network"):
        names(hub_of(served, retries=1), tmp_path)


def test_limits_end_the_reading_early(served: Web, tmp_path: Path) -> None:
    assert names(hub_of(served, documents=7), tmp_path) == ALL[:7]
    assert list(within("abcdef", size=lambda letter: 2, limit=7)) == list("abc")
    assert list(within("abc", size=lambda letter: 2, limit=None)) == list("abc")


def promised(web: Web, **wrong: str) -> dict[str, str]:
    files = {web.url(path.name): sha256(path.read_bytes()).hexdigest() for path in web.folder.glob("*.parquet")}
    return {**files, **{web.url(f"{name}.parquet"): digest for name, digest in wrong.items()}}


def test_files_with_a_checksum_are_fetched_whole_and_checked(served: Web, tmp_path: Path) -> None:
    served.breaks["a.parquet"] = 2
    assert names(hub_of(served, sha256=promised(served)), tmp_path) == ALL


def test_a_file_whose_checksum_changed_is_refused_by_name(served: Web, tmp_path: Path) -> None:
    before = promised(served)
    tables.parquet(served.folder / "b.parquet", [{"text": "another"}])
    with pytest.raises(Refusal, match=r"b\.parquet: has changed: its SHA-256"):
        names(hub_of(served, sha256=before), tmp_path)


def test_a_missing_file_is_refused_by_name(served: Web, tmp_path: Path) -> None:
    hub = Hub(name="parquet", data_files={"train": (served.url("c.parquet"),)})
    with pytest.raises(Refusal, match=r"corpus\.source: parquet cannot be read: .*c\.parquet"):
        names(hub, tmp_path)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({}, r"corpus\.source\.name: is missing"),
        ({"name": "parquet"}, r"corpus\.source\.data_files: is missing; parquet needs data_files"),
        ({"name": "json", "data_files": {"train": ["a.jsonl"]}}, r"data_files: 'a\.jsonl' is not a URL; files on this"),
        (
            {"name": "a/b", "revision": "c", "data_files": {"train": ["a"]}, "sha256": {"a": "0"}},
            r"corpus\.source\.sha256: 'a' is not a URL of the web",
        ),
        (
            {"name": "json", "data_files": {"train": ["http://x/a.jsonl"]}, "sha256": {"http://x/A.jsonl": "0"}},
            r"sha256: 'http://x/A\.jsonl' is not one of data_files, .* did you mean 'http://x/a\.jsonl'\?",
        ),
        (
            {"name": "a/b", "revision": "c", "sha256": {"http://x/a.jsonl": "0"}},
            r"corpus\.source\.sha256: 'http://x/a\.jsonl' is not one of data_files",
        ),
        ({"name": "some/dataset"}, r"corpus\.source\.revision: is missing; pin a commit of some/dataset"),
        ({"name": "json", "data_files": {"test": ["http://x"]}}, r"data_files: has no split 'train'; there is test"),
    ],
)
def test_what_is_missing_is_said_before_any_work(told: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=says):
        names(Hub.model_validate(told), tmp_path)


def test_a_dataset_of_the_hub_that_cannot_be_reached_is_refused_by_name(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lmmodel.text.hub import *\n"
        "try: next(rows(Hub(name='some/dataset', revision='0' * 40), split='train', place='corpus.source',"
        " scratch=Path(sys.argv[1])))\n"
        "except Refusal as refusal: print(refusal)\n"
    )
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], env=offline, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("corpus.source: some/dataset cannot be reached; is there a network? ("), done.stderr
    assert "once more" not in done.stderr
