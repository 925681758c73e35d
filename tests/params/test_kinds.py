"""A kind is its file: found, read and refused without importing what it computes with."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from lmmodel.architecture.families import ATTENTION, PARTS
from lmmodel.learning import settings as learning_settings  # noqa: F401 - its families are found below
from lmmodel.params.kinds import Chosen, choose, describe
from lmmodel.params.refusal import Refusal
from lmmodel.text import settings as text_settings  # noqa: F401

OWN = '''\
"""An attention of one's own."""

import torch
from torch import nn

from lmmodel.params.settings import Positive, Settings

DEFAULT = 32.0


class Options(Settings):
    half_life: Positive = DEFAULT


class Attention(nn.Module):
    honours = frozenset({"scores", "nothing"})
    orders_itself = True
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "fading.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return "experiments/fading.py"


def message(value, family=ATTENTION, code=None):
    with pytest.raises(ValidationError) as error:
        choose(family, value, code)
    return error.value.errors()[0]["msg"]


def test_every_file_of_a_family_is_a_kind_with_options_and_a_docstring():
    for family in PARTS.values():
        assert family.names()
        for kind in family.names():
            assert family.options(kind)().dump() is not None
            assert family.summary(kind), f"{family.name}/{kind} says nothing about itself"
            assert family.load(kind).__name__ == family.member


def test_options_are_read_without_importing_torch():
    code = (
        "import sys\n"
        "from lmmodel.architecture.families import PARTS\n"
        "[family.options(kind) for family in PARTS.values() for kind in family.names()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_bare_name_and_a_mapping_say_the_same():
    assert choose(ATTENTION, "multi_head") == choose(ATTENTION, {"kind": "multi_head"})


def test_a_misspelt_kind_gets_a_suggestion():
    assert message("multihead").endswith("did you mean 'multi_head'?")
    assert "'multihead' is not one of" in message({"kind": "multihead"})


def test_an_option_of_another_kind_names_who_has_it():
    assert "is not an option of none" in message({"kind": "none", "kv_heads": 2})
    assert "(differential, multi_head have it; 'none' in place of the" in message({"kind": "none", "kv_heads": 2})
    assert "(mamba2 has it; 'none' in place of the" in message({"kind": "none", "state_width": 2})


def test_a_mapping_without_a_kind_is_refused():
    assert message({"window": 64}).startswith("should be one of")


def test_a_kind_of_ones_own_lives_under_experiments_alone(own, tmp_path):
    chosen = choose(ATTENTION, own)
    assert chosen.options.dump() == {"half_life": 32.0}
    assert ATTENTION.declares(own, "honours") == {"scores", "nothing"}
    assert ATTENTION.declares(own, "orders_itself") is True
    assert ATTENTION.load(own).__name__ == "Attention"
    for path in (
        "/etc/fading.py",
        "fading.py/x",
        "../experiments/fading.py",
        "experiments/../fading.py",
        "experiments/a",
    ):
        assert "only that folder is watched" in message(path)
    assert "git add experiments/missing.py" in message("experiments/missing.py")


def test_code_that_came_with_a_checkpoint_runs_only_when_named(own):
    assert "it runs only when you name it" in message(own, code={})
    given = Path(own).resolve()
    assert choose(ATTENTION, own, {own: given}) == Chosen(own, choose(ATTENTION, own).options, given)


def test_a_file_without_the_familys_member_is_refused(own):
    Path(own).write_text(OWN.replace("class Attention", "class Attend"))
    assert "defines no Attention" in message(own)
    Path(own).write_text("def (:\n")
    assert "is not Python" in message(own)


def test_an_edited_kind_is_read_again(own):
    assert choose(ATTENTION, own).options.dump() == {"half_life": 32.0}
    Path(own).write_text(OWN.replace("32.0", "64.0"))
    assert choose(ATTENTION, own).options.dump() == {"half_life": 64.0}


def test_the_schema_lists_every_kind():
    schema = describe(ATTENTION)
    assert schema["anyOf"][0]["enum"] == list(ATTENTION.names())


def test_a_family_closed_to_own_kinds_says_so(own):
    from dataclasses import replace

    with pytest.raises(Refusal, match="takes only"):
        replace(ATTENTION, own=False).file(own)


def test_an_option_called_like_an_import_does_not_bring_it_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("experiments").mkdir()
    Path("experiments/mine.py").write_text(
        "from nowhere import scalars\nfrom lmmodel.params.settings import Settings\n\n"
        "class Options(Settings):\n    scalars: bool = False\n\nclass Attention: ...\n"
    )
    assert list(ATTENTION.options("experiments/mine.py").model_fields) == ["scalars"]
