"""A sealed folder names the file that is not what it was."""

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
