"""`lmmodel new`: what it writes works and is sound as it stands; what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lmmodel.architecture.families import PARTS
from lmmodel.params.refusal import Refusal
from pipelines import cli
from pipelines.pages import check, new

QUICK = tuple(name for name in check.TITLES if name not in ("compiled", "learns"))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty experiments/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", PARTS)
def test_every_template_is_sound_as_it_stands_and_says_what_comes_next(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["new", name, f"my_{name}"])
    page = capsys.readouterr().out
    kind = f"experiments/my_{name}.py"
    assert f"lmmodel check {kind}" in page
    assert re.search(r"^checked in [\d.]+ m?s, sound$", page, re.MULTILINE)
    assert f"{name}: {kind}" in page
    assert "NAME" not in Path(kind).read_text()
    assert f"experiments/my_{name}.py" in Path(kind).read_text()
    declaration, _, subject = check.subject_of(kind)
    assert subject.startswith(f"{kind}: {PARTS[name].member}, ")
    assert [f.text for f in check.findings(declaration, None, QUICK) if not f.passed] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
@pytest.mark.usefixtures("fresh_compiler")
def test_every_template_learns_and_compiles(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kind = new.written(PARTS[name], f"mine_{name}").as_posix()
    cli.main(["check", kind])
    assert "16 passed" in capsys.readouterr().out


def test_a_component_that_is_not_sound_is_not_said_to_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (new.TEMPLATES / "norm.py").read_text()
    spoilt = text.replace("def forward(self, x: Tensor) -> Tensor:", "def forward(self, x):\n        x = x - x.mean(0)")
    assert spoilt != text
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "norm.py").write_text(spoilt)
    monkeypatch.setattr(new, "TEMPLATES", tmp_path / "templates")
    with pytest.raises(SystemExit):
        cli.main(["new", "norm", "leaky"])
    told = capsys.readouterr()
    assert "works as it stands" not in told.out
    assert "experiments/leaky.py is written, and is not sound as it stands" in told.err
    assert "row" in told.err


def test_what_is_there_is_left_as_it_is() -> None:
    Path("experiments/mine.py").write_text("precious")
    with pytest.raises(Refusal, match=r"experiments/mine.py is there already, and is left as it is"):
        new.written(PARTS["norm"], "mine")
    assert Path("experiments/mine.py").read_text() == "precious"


@pytest.mark.parametrize("name", ["My_norm", "my-norm", "1st", "_hidden", "class", "../norm", "mine.py", "a/b", ""])
def test_a_name_that_is_no_name_is_refused(name: str, project: Path) -> None:
    with pytest.raises(Refusal, match="should be small letters, digits and _, such as my_norm"):
        new.written(PARTS["norm"], name)
    assert not list(project.rglob("*.py"))


def test_the_name_of_a_kind_that_comes_with_the_project_is_refused() -> None:
    with pytest.raises(Refusal, match="'rms' is a kind of norm already"):
        new.written(PARTS["norm"], "rms")


def test_an_unknown_family_is_refused_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["new", "atention", "mine"])
    assert "did you mean 'attention'?" in capsys.readouterr().err


def test_without_a_folder_for_ones_own_nothing_is_written(project: Path) -> None:
    (project / "experiments").rmdir()
    with pytest.raises(Refusal, match="there is no folder experiments/ here"):
        new.written(PARTS["norm"], "mine")
