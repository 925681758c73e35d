"""The command lmmodel: what it takes, what it refuses, and how fast it starts to speak."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import cli

ROOT = Path(__file__).resolve().parents[2]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    code = 0
    try:
        cli.main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_without_a_command_the_menu_is_printed(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    code, out, err = said(capsys, *words)
    assert (code, err) == (0, "")
    assert all(f"lmmodel {name}" in out for name in cli.COMMANDS)
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_page_that_explains_itself(capsys: pytest.CaptureFixture[str], name: str) -> None:
    page = importlib.import_module(cli.module(name))
    page.arguments(argparse.ArgumentParser())
    code, out, _ = said(capsys, name, "--help")
    assert code == 0
    assert (page.__doc__ or "").splitlines()[0] in out


def test_every_page_is_a_command() -> None:
    pages = {path.stem for path in (ROOT / "pipelines" / "pages").glob("*.py")} - {"__init__"}
    assert {f"pipelines.pages.{page}" for page in pages} == set(map(cli.module, cli.COMMANDS))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("desing",), "kinds, new, compare, plan, doctor, generate, import, export: did you mean 'design'?"),
        (("kinds", "attentoin"), "did you mean 'attention'?"),
        (("kinds", "attention", "multihead"), "did you mean 'multi_head'?"),
        (("kinds", "--colour"), "unrecognized arguments: --colour"),
        (("generate", "--tokens", "many"), "invalid int value: 'many'"),
        (("generate", "--tokens", "0"), "--tokens should be at least 1"),
        (("generate", "nowhere"), "nowhere: holds no model"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line_or_two(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    code, out, err = said(capsys, *words)
    assert (code, out) == (1, "")
    assert told in err
    assert len(err.strip().splitlines()) <= 2


@pytest.mark.parametrize("name", ["plan", "report", "design", "run"])
def test_a_mistake_in_params_is_told_before_anything_else(
    capsys: pytest.CaptureFixture[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("{kind: rotary", "{kind: rotery"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, name)
    assert (code, out) == (1, "")
    assert "model.design.position.kind 'rotery' is not one of" in err
    assert "did you mean 'rotary'?" in err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m pipelines.cli kinds | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("norm")
    assert done.stderr == ""


@pytest.mark.parametrize("words", [["--help"], ["kinds"], ["kinds", "optimizer", "muon"], ["report"], ["plan"]])
def test_what_only_reads_imports_neither_torch_nor_mlflow(words: list[str]) -> None:
    """Nor dvc, but for the plan, which asks dvc's own files."""
    code = (
        "import sys\nfrom pipelines import cli\n"
        f"try: cli.main({words!r})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'mlflow', 'dagster', 'dvc', 'datasets'} & set(sys.modules)\n"
        f"assert heavy <= { ({'dvc'} if words == ['plan'] else set()) }, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
