from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmmodel.params.refusal import Refusal
from lmmodel.text.rows import expand, of_file, text_of
from tests.text import tables


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize("suffix", [".txt", ".md", ".jsonl", ".parquet"])
def test_every_format_is_read_in_every_packing(tmp_path: Path, suffix: str, packing: str) -> None:
    path = tmp_path / f"file{suffix}{packing}"
    content = " first\n\n\tsecond  é ▁\n"
    if suffix in (".txt", ".md"):
        tables.text(path, content)
    else:
        write = tables.lines if suffix == ".jsonl" else tables.parquet
        write(path, [{"text": content, "n": 1}, {"text": "two", "n": 2}])
    texts = [row["text"] for row in of_file(path)]
    assert texts == ([content] if suffix in (".txt", ".md") else [content, "two"])


def test_globs_name_each_file_once_in_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "deep/er/c.txt"):
        tables.text(tmp_path / name, name)
    found = expand([f"{tmp_path}/*.txt", f"{tmp_path}/**/*.*"], place="corpus.source.paths")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.md", "b.txt", "deep/er/c.txt"]


def test_a_glob_that_matches_nothing_is_refused_with_what_is_there(tmp_path: Path) -> None:
    tables.text(tmp_path / "there.txt", "text")
    with pytest.raises(
        Refusal, match=r"corpus\.source\.paths: '.*missing.*' matches no file; in .* there is there\.txt"
    ):
        expand([f"{tmp_path}/missing/*.txt"], place="corpus.source.paths")


def test_an_unknown_format_is_refused_with_the_choices(tmp_path: Path) -> None:
    tables.text(tmp_path / "table.csv", "a,b")
    with pytest.raises(Refusal, match=r"table\.csv' is none of \.txt, \.md, \.jsonl, \.parquet, or one of these with"):
        expand([f"{tmp_path}/*"], place="corpus.source.paths")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("é".encode("latin-1") + b" and more")
    with pytest.raises(Refusal, match=r"latin\.txt: is not text in UTF-8"):
        list(of_file(path))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows.jsonl.gz", "rows.parquet.zst", "rows.txt.zst"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'{"text": "cut o')
    with pytest.raises(Refusal, match=f"{name}: cannot be read"):
        list(of_file(tmp_path / name))


def test_a_missing_column_is_refused_with_the_columns() -> None:
    with pytest.raises(Refusal, match=r"corpus\.source\.text_column: 'body' is not one of the columns id, text"):
        text_of({"id": 1, "text": "a"}, "body", place="corpus.source.text_column")
    with pytest.raises(Refusal, match=r"the column 'id' holds int, not text"):
        text_of({"id": 1}, "id", place="corpus.source.text_column")
    assert text_of({"text": None}, "text", place="") == ""


def test_reading_asks_nobody_in_the_network_imports_no_torch_and_leaves_no_cache(tmp_path: Path) -> None:
    path = tables.lines(tmp_path / "rows.jsonl", [{"text": "one"}])
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError(f'asked for {a}')\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "from pathlib import Path; from lmmodel.text.rows import of_file\n"
        "assert list(of_file(Path(sys.argv[1]))) == [{'text': 'one'}]\n"
        "assert 'torch' not in sys.modules\n"
    )
    home = tmp_path / "home"
    environment = {**os.environ, "HF_HOME": str(home)}
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=120, env=environment)
    assert not [found for found in home.rglob("*") if found.is_file()]
