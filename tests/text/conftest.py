"""Fixtures of the tests of text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lmmodel.text.tokenizer import Tokenizer, train
from tests.text.web import Web

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

SENTENCES = (
    "Return the number of items in a container.",
    "Close the file, and raise OSError when that is not possible.",
    "def size(path):\n    return  os.stat(path).st_size",
    "The quick brown fox jumps over the lazy dog 1234567890 times.",
)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """A web server of the files in tmp_path/web."""
    folder = tmp_path / "web"
    folder.mkdir()
    with Web(folder).open() as server:
        yield server


@pytest.fixture(scope="session")
def pieces() -> Tokenizer:
    """A small vocabulary of byte pairs."""
    return train(SENTENCES * 5, algorithm="bpe", vocab_size=360)


@pytest.fixture(scope="session")
def bytewise() -> Tokenizer:
    """Bytes as ids."""
    return train((), algorithm="byte", vocab_size=261)
