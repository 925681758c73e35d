"""Code that is not what design fingerprinted does not run unnoticed, whenever and however it is loaded."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from lmmodel.params.kinds import Family
from lmmodel.params.refusal import Refusal
from pipelines import fingerprint, gate

KIND = '''"""A kind."""

from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing."""


class Thing:
    size = 1
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kind of one's own, in a project of its own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "experiments/gated_thing.py"
    path.parent.mkdir()
    path.write_text(KIND)
    monkeypatch.setitem(sys.modules, "experiments.gated_thing", None)
    return path


def test_a_kind_that_was_edited_before_it_was_loaded_is_noticed_even_when_put_back(own: Path) -> None:
    code = fingerprint.closure(["experiments.gated_thing"])
    assert code
    own.write_text(KIND.replace("size = 1", "size = 2"))
    assert Family("lmmodel.nothing", "Thing", own=True).load("experiments/gated_thing.py").size == 2
    own.write_text(KIND)
    assert gate.strangers(code) == ["experiments.gated_thing"]


def test_a_kind_that_was_edited_after_it_was_loaded_ran_as_it_was(own: Path) -> None:
    code = fingerprint.closure(["experiments.gated_thing"])
    assert Family("lmmodel.nothing", "Thing", own=True).load("experiments/gated_thing.py").size == 1
    own.write_text(KIND.replace("size = 1", "size = 2"))
    assert gate.strangers(code) == []


def test_the_gate_refuses_what_changed_and_stands_only_while_work_is_done(own: Path) -> None:
    finders = list(sys.meta_path)
    del sys.modules["experiments.gated_thing"]
    with gate.only({"experiments.gated_thing": "another hash"}):
        with pytest.raises(Refusal, match=r"experiments/gated_thing\.py: changed after this stage began"):
            sys.meta_path[0].find_spec("experiments.gated_thing", None)
        assert importlib.import_module("json")
    assert sys.meta_path == finders
