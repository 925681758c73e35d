"""Results held side by side, read off what was committed: real plans, a real dvc.lock, a real cache."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import chdir
from pathlib import Path

import pytest

from lmmodel import folder
from lmmodel.params import document
from pipelines import cli, comparing, paths
from pipelines.results import Result
from tests.pipelines import a_project
from tests.project import Project

OUTCOMES = {
    ("six", 1): 1.95,
    ("six", 2): 1.96,
    ("six", 3): 1.94,
    ("five", 1): 1.90,
    ("five", 2): 1.915,
    ("five", 3): 1.89,
}


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def compared_once(finished_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two depths with three seeds each, as experiments that began from the first commit."""
    root = tmp_path_factory.mktemp("compared") / "project"
    shutil.copytree(finished_once, root, symlinks=True)
    with chdir(root), pytest.MonkeyPatch.context() as patch:
        for who in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{who}_NAME", "test")
            patch.setenv(f"GIT_{who}_EMAIL", "test@localhost")
        Path("params.yaml").write_text(Path("params.yaml").read_text().replace("seed: 1  ", "seed: 9  "))
        git("init", "-q", "-b", "main")
        git("add", "dvc.yaml", "params.yaml")
        git("commit", "-q", "-m", "a project")
        first, text = git("rev-parse", "HEAD"), Path("params.yaml").read_text()
        for (name, seed), outcome in OUTCOMES.items():
            depth = {"six": 6, "five": 5}[name]
            Path("params.yaml").write_text(
                text.replace("seed: 9", f"seed: {seed}").replace("depth: 6", f"depth: {depth}")
            )
            a_project.plan()
            metrics = a_project.METRICS["pretrain"] | {"validation_bits_per_byte": outcome, "parameters": depth * 10**6}
            paths.stage("pretrain").metrics.write_text(folder.canonical(metrics))
            a_project.dvc("commit", "--force", "--quiet")
            git("add", "-f", "dvc.lock", "params.yaml")
            git("commit", "-q", "-m", name)
            git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/{name}-{seed}", "HEAD")
        git("reset", "-q", "--hard", first)
    return root


@pytest.fixture
def compared(compared_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(compared_once)
    return compared_once


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    try:
        cli.main(["compare", *words])
    except SystemExit:
        return capsys.readouterr().err
    return capsys.readouterr().out


def test_two_results_what_differs_what_was_equal_what_came_out(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = said(capsys, "six-1", "five-1").splitlines()
    rows = [line.split() for line in page]
    assert rows[0] == ["six-1", "five-1"]
    assert rows[1] == ["differs"]
    assert ["model.depth", "6", "5"] in rows

    assert ["parameters", "6,000,000", "5,000,000", "-16.7", "%", "no"] in rows
    assert ["tokens", "2.50", "M", "2.50", "M", "+0.0", "%", "yes"] in rows
    assert ["training", "FLOPs", "9.820e13", "9.820e13", "+0.0", "%", "yes"] in rows
    assert ["validation,", "bits", "per", "byte", "1.950", "1.900", "-0.050"] in rows
    text = " ".join(" ".join(page).split())
    assert "No verdict: one seed each, and a design differs from itself between seeds." in text
    assert "dvc exp run --queue -S 'model.depth=6,5' -S seed=2,3 && dvc queue start" in text
    assert "lmmodel compare --by model.depth" in text


def test_seeds_together_give_a_verdict(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, "--by", "model.depth", "--baseline", "6")
    rows = [line.split() for line in page.splitlines()]
    told = "6 results: 2 values of model.depth x seeds 1, 2, 3. Equal in training FLOPs: 9.820e13, all within 0.0 %."
    assert page.startswith(told)
    assert rows[2] == ["model.depth", "parameters", "tokens", "bits", "per", "byte", "against", "6", "verdict"]
    best = next(row for row in rows[3:] if row[:1] == ["5"])
    assert best[1:5] == ["5,000,000", "2.50", "M", "1.902"]
    assert best[-1] == "better"
    assert next(row for row in rows[3:] if row[:1] == ["6"])[-1] == "baseline"
    text = " ".join(page.split())
    assert "Intervals: Dunnett, 95 % for the one comparison, seeds as blocks." in text
    assert "cannot be told with 3 seeds." in text
    assert text.endswith("One result again: dvc exp apply NAME && dvc repro.")


def test_a_share_of_questions_that_came_out_is_told_in_percent() -> None:
    key = "evaluate.finetune.dialogues_choice.acc_mutual_info"
    sides = [Result(str(share), numbers={comparing.METRIC: 1.9, key: share}) for share in (0.57, 0.592)]
    assert comparing.outcomes(sides) == [
        ("validation, bits per byte", "1.900", "1.900", "+0.000"),
        ("dialogues_choice, acc_mutual_info", "57.0 %", "59.2 %", "+2.2 %"),
    ]


def test_seeds_that_are_not_the_same_for_all_are_counted(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, "five-1", "five-2", "six-1", "six-2", "six-3", "--by", "model.depth", "--baseline", "6")
    rows = [line.split() for line in page.splitlines()]
    assert page.startswith("5 results: 2 values of model.depth. Equal in training FLOPs")
    assert rows[2][:2] == ["model.depth", "seeds"]
    assert next(row for row in rows[3:] if row[:1] == ["5"])[1] == "2"


def test_shares_of_questions_are_told_in_percent(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--by", "model.depth", "--baseline", "6", "--metric", "evaluate.finetune.dialogues_choice.acc")
    page = said(capsys, *words)
    five = next(line.split() for line in page.splitlines() if line.split()[:1] == ["5"])
    assert five[4:8] == ["58.2", "%", "+0.0", "%"]


def test_key_and_value_choose_among_the_results(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, "seed=2")
    assert sorted(page.splitlines()[0].split()) == ["five-2", "six-2"]
    data = json.loads(said(capsys, "seed=2", "--by", "model.depth", "--baseline", "6", "--format", "json"))
    assert [row["verdict"] for row in data["rows"] if row["value"] == "5"] == ["cannot tell"]
    assert data["smallest"] is None
    assert "no result has seed=7" in said(capsys, "seed=7")


def test_the_same_table_in_other_forms(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--by", "model.depth", "--baseline", "6", "--format")
    markdown = said(capsys, *words, "markdown").splitlines()
    assert markdown[0].startswith("| model.depth | parameters | tokens | bits per byte | against 6 |")
    assert markdown[2].startswith("| 5 | 5,000,000 |")
    assert said(capsys, *words, "csv").splitlines()[1].startswith('5,"5,000,000"')
    latex = said(capsys, *words, "latex")
    assert latex.startswith("\\begin{tabular}{lrrrrr}")
    assert "2.50 M & 1.902" in latex
    data = json.loads(said(capsys, *words, "json"))
    five = next(row for row in data["rows"] if row["value"] == "5")
    assert five["seeds"] == {"1": 1.9, "2": 1.915, "3": 1.89}
    assert five["interval"][0] < five["difference"] < five["interval"][1] < 0
    assert five["verdict"] == "better"
    sides = json.loads(said(capsys, "six-1", "five-1", "--format", "json"))
    assert sides["verdict"] is None
    assert "| model.depth | 6 | 5 |" in said(capsys, "six-1", "five-1", "--format", "markdown")


def test_a_revision_and_a_folder_are_results_too(
    compared: Path, finished_once: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (revision, *_) = git("for-each-ref", "--format=%(objectname)", "refs/exps").split()
    page = said(capsys, revision, str(finished_once)).splitlines()
    assert page[0].split() == [revision, str(finished_once)]
    rows = [line.split() for line in page]
    assert any(row[:2] == ["model.depth", "5"] and row[-1] == "6" for row in rows)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["six-1", "fiv-1"], "'fiv-1' is neither an experiment (five-1,"),
        (["six-1"], "there is one result only, six-1"),
        (["HEAD"], "HEAD: no model was trained there"),
        (["--by", "model.dept"], "has no 'model.dept': did you mean 'model.depth'?"),
        (["--by", "model.depth"], "--baseline has to be one of the values of model.depth:"),
        (["six-1", "six-2", "--by", "model.depth", "--baseline", "6"], "all results have the same model.depth, 6"),
        (["--by", "corpus.source.kind", "six-1", "five-1"], "and differ in model.depth"),
        (["--by", "model.depth", "--baseline", "6", "--metric", "pretrain.los"], "has no 'pretrain.los'"),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_line(
    compared: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert told in said(capsys, *words)


def test_what_is_not_in_the_cache_is_named_with_its_remedy(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(compared, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    shutil.rmtree(".dvc/cache")
    assert "is not in DVC's cache; `dvc exp pull origin six-1` or `dvc pull` brings it" in said(
        capsys, "six-1", "five-1"
    )


def test_what_nobody_named_and_is_not_in_the_cache_is_left_out_and_told(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So it is with the results of another machine that a clone's own commit has."""
    shutil.copytree(compared, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    (commit,) = git("for-each-ref", "--format=%(objectname)", "refs/exps/**/five-1").split()
    stages = document.parse(git("show", f"{commit}:dvc.lock"), name="dvc.lock").data["stages"]
    (lost,) = [one["md5"] for one in stages["pretrain"]["outs"] if one["path"] == "models/pretrain.json"]
    Path(".dvc/cache/files/md5", lost[:2], lost[2:]).unlink()
    cli.main(["compare", "--by", "model.depth", "--baseline", "6"])
    told = capsys.readouterr()
    assert "left out: five-1: its models/pretrain.json is not in DVC's cache" in told.err
    assert "5 results" in told.out
    shutil.rmtree(".dvc/cache")
    assert "is not in DVC's cache; " in said(capsys, "--by", "model.depth", "--baseline", "6")


def test_what_was_trained_stands_beside_the_parameters_it_was_trained_with(
    compared: Path,
    finished_once: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(finished_once, tmp_path / "edited", symlinks=True)
    monkeypatch.chdir(tmp_path / "edited")
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("depth: 6", "depth: 4"))
    monkeypatch.chdir(compared)
    rows = [line.split() for line in said(capsys, "five-1", str(tmp_path / "edited")).splitlines()]
    assert ["model.depth", "5", "6"] in rows
    monkeypatch.chdir(tmp_path / "edited")
    a_project.plan()
    a_project.dvc("commit", "--force", "--quiet", "design")
    monkeypatch.chdir(compared)
    assert "its model was trained with other parameters" in said(capsys, "five-1", str(tmp_path / "edited"))


@pytest.mark.parametrize("made", [[], [".dvc"]])
def test_outside_of_a_project_or_of_git_it_is_told_in_a_line(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in made:
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(said(capsys, "a", "b").splitlines()) == 1


@pytest.mark.slow
def test_experiments_of_dvc_are_compared_here_and_after_a_pull(reproduced: Project, tmp_path: Path) -> None:
    project = reproduced.copy(tmp_path / "project")
    assert project.dvc("remote", "add", "-d", "here", str(tmp_path / "remote")).code == 0
    for command in (["add", "-A"], ["commit", "-q", "-m", "results"]):
        assert project.run("git", *command).code == 0
    ran = project.dvc("exp", "run", "--name", "deeper", "-S", "model.depth=3")
    assert ran.code == 0, ran.output
    page = project.python("-m", "pipelines.cli", "compare", "HEAD", "deeper")
    assert page.code == 0, page.output
    assert ["model.depth", "2", "3"] in [line.split() for line in page.output.splitlines()]
    for command in (["add", "-A"], ["commit", "-q", "-m", "deeper"]):
        assert project.run("git", *command).code == 0
    assert project.dvc("push", "--all-commits").code == 0
    other = project.clone(tmp_path / "elsewhere")
    again = other.python("-m", "pipelines.cli", "compare", "HEAD~1", "HEAD")
    assert again.code == 0, again.output
    assert ["model.depth", "2", "3"] in [line.split() for line in again.output.splitlines()]
