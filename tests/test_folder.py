"""A sealed folder names the file that is not what it was."""

import subprocess
import sys

import pytest

from lmmodel import folder
from lmmodel.params.refusal import Refusal


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.bin").write_bytes(b"0123456789")
    (tmp_path / "deep" / "b.txt").write_text("text")
    folder.seal(tmp_path, {"count": 2})
    return tmp_path


def test_a_whole_folder_gives_its_facts(sealed):
    index = folder.verify(sealed)
    assert index["count"] == 2
    assert set(index["files"]) == {"a.bin", "deep/b.txt"}
    assert index["files"]["a.bin"]["bytes"] == 10


def test_sealing_is_a_function_of_the_content(sealed):
    before = (sealed / "index.json").read_bytes()
    folder.seal(sealed, {"count": 2})
    assert (sealed / "index.json").read_bytes() == before


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.write_bytes(b"012"), "has 3 bytes instead of 10"),
        (lambda path: path.write_bytes(b"0123456780"), "SHA-256 differs"),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_a_damaged_file_is_named(sealed, harm, message):
    harm(sealed / "a.bin")
    with pytest.raises(Refusal, match=message) as refused:
        folder.verify(sealed)
    assert str(sealed / "a.bin") in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 3}'])
def test_a_damaged_index_is_named(sealed, text):
    (sealed / "index.json").write_text(text)
    with pytest.raises(Refusal, match=r"index\.json"):
        folder.verify(sealed)


WRITES = """
import sys
from pathlib import Path
from lmmodel import folder
for _ in range(200):
    folder.write(Path(sys.argv[1]), sys.argv[2] * 5000)
"""


def test_several_who_write_a_small_file_at_once_leave_one_of_theirs_whole(tmp_path):
    file = tmp_path / "times.json"
    writers = [subprocess.Popen([sys.executable, "-c", WRITES, str(file), letter]) for letter in "abc"]
    while any(writer.poll() is None for writer in writers):
        assert not file.exists() or file.read_text() in {letter * 5000 for letter in "abc"}
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["times.json"]
