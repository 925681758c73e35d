"""A stage's work: taken up where it stood, handed over whole or not at all, never for inputs that it did not see."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import work
from pipelines.scratch import copy
from tests import power_cut
from tests.project import Project, Ran, kill, until


@pytest.fixture
def ready(made_once: Project, tmp_path: Path) -> Project:
    """A small project whose stages all ran, to break."""
    return made_once.copy(tmp_path / "project")


def computed(project: Project) -> int:
    """How often the work of corpus was begun or gone on with."""
    return len((project.root / "computed").read_text().splitlines())


def scratches(project: Project, stage: str = "corpus") -> list[Path]:
    return sorted((project.root / ".lmmodel/work" / stage).glob("*"))


def while_corpus_runs(project: Project, change: Callable[[], object]) -> Ran:
    """`dvc repro` with `change` made in the middle of corpus."""
    (project.root / "hold").touch()
    before = computed(project)
    process = project.start("dvc", "repro")
    until(lambda: computed(project) > before, "corpus to begin")
    change()
    (project.root / "hold").unlink()
    output, _ = process.communicate(timeout=120)
    return Ran(process.returncode, output)


def refused(ran: Ran) -> str:
    """What a failed run said; never a traceback."""
    assert ran.code != 0
    assert "Traceback" not in ran.output
    return ran.output


# --- an edit while a stage runs


def corpus_changed(project: Project) -> None:
    """Give corpus something to do."""
    project.edit("params.yaml", "fraction: 0.2}\n\ntokenizer", "fraction: 0.3}\n\ntokenizer")


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        (
            "params.yaml",
            "fraction: 0.3}\n\ntokenizer",
            "fraction: 0.4}\n\ntokenizer",
            "corpus.validation.fraction was 0.3 and is 0.4 now",
        ),
        ("lmmodel/text/late.py", "text[::-1]", "text[::1]", "the code of lmmodel.text.late changed"),
        ("params.yaml", "examples_per_task", "exmaples_per_task", "evaluate.exmaples_per_task is not a key here"),
    ],
    ids=["parameter", "code", "typo"],
)
def test_an_edit_while_a_stage_runs(ready: Project, name: str, old: str, new: str, told: str) -> None:
    """It ends with an error that names the edit; put back what was, and the finished work is taken up."""
    corpus_changed(ready)
    undo: list[Callable[[], None]] = []
    said = refused(while_corpus_runs(ready, lambda: undo.append(ready.edit(name, old, new))))
    assert told in said
    assert not (ready.root / "data/corpus").exists()
    begun = computed(ready)
    undo[0]()
    assert "taken up" in ready.repro().output
    assert computed(ready) == begun
    assert '"fraction": 0.3' in ready.read("data/corpus/index.json")
    assert ready.repro().stages == []


def test_data_that_changes_while_it_is_read_is_read_again(ready: Project) -> None:
    """Unlike a parameter it may be in the result by half, so the result is for neither."""
    undo: list[Callable[[], None]] = []
    corpus_changed(ready)
    said = refused(
        while_corpus_runs(ready, lambda: undo.append(ready.edit("data/raw/documents/03.txt", "number 3", "number 333")))
    )
    assert "data/raw/documents/03.txt changed" in said
    begun = computed(ready)
    undo[0]()
    assert ready.repro().stages == ["corpus", "tokenizer"]
    assert computed(ready) == begun + 1
    assert "333" not in ready.read("data/corpus/lines.txt")


def test_code_that_changed_is_not_imported_late(ready: Project) -> None:
    """What a stage imports in the middle of its work is the code that design fingerprinted, or nothing."""
    ready.edit("pipelines/corpus.py", "from lmmodel.text import late\n", "")
    ready.edit(
        "pipelines/corpus.py", "        lines.append", "        from lmmodel.text import late\n        lines.append"
    )
    undo: list[Callable[[], None]] = []
    said = refused(
        while_corpus_runs(ready, lambda: undo.append(ready.edit("lmmodel/text/late.py", "text[::-1]", "text[::1]")))
    )
    assert "lmmodel/text/late.py: changed after this stage began" in said
    undo[0]()
    ready.repro()


def test_an_edit_that_the_stage_does_not_see_lets_it_pass(ready: Project) -> None:
    corpus_changed(ready)

    def change() -> None:
        ready.edit("lmmodel/text/late.py", "    for _", "    # slowly\n    for _")
        ready.edit("params.yaml", "vocab_size: 320", "vocab_size: 330")
        ready.edit("params.yaml", "workers: 1", "workers: 2")

    said = refused(while_corpus_runs(ready, change))
    assert "corpus:" not in said  # corpus went through; tokenizer, told of another size than design was, did not
    assert "tokenizer: tokenizer.vocab_size was 320 and is 330 now" in said
    assert "dvc repro" in said
    assert ready.repro().stages == ["design", "tokenizer"]


def test_other_values_than_before_are_work_of_their_own(ready: Project) -> None:
    """Nobody has to put anything back: what was finished waits, and is taken up whenever its values return."""
    corpus_changed(ready)
    undo = []
    refused(
        while_corpus_runs(
            ready, lambda: undo.append(ready.edit("params.yaml", "fraction: 0.3}\n\nt", "fraction: 0.4}\n\nt"))
        )
    )
    ready.repro()
    assert '"fraction": 0.4' in ready.read("data/corpus/index.json")
    begun = computed(ready)
    undo[0]()
    ready.repro()
    assert '"fraction": 0.3' in ready.read("data/corpus/index.json")
    assert computed(ready) == begun


# --- on entry


def test_a_stage_started_past_design_is_refused(ready: Project) -> None:
    (ready.root / "data/raw/documents/new.txt").write_text("more")
    ready.edit("params.yaml", "fraction: 0.2}\n\ntokenizer", "fraction: 0.3}\n\ntokenizer")
    ready.edit("lmmodel/text/late.py", "text[::-1]", "text[::1]")
    said = refused(ready.dvc("repro", "-s", "corpus"))
    assert "corpus.validation.fraction was 0.2 and is 0.3 now" in said
    assert "the code of lmmodel.text.late changed" in said
    assert "Run `dvc repro` (not -s)" in said


def test_the_whole_file_is_looked_at_before_any_work(ready: Project) -> None:
    ready.edit("params.yaml", "examples_per_task: 4", "exmples_per_task: 4")
    said = refused(ready.python("-m", "pipelines.corpus"))
    assert "params.yaml:" in said
    assert "evaluate.exmples_per_task" in said
    assert "did you mean 'examples_per_task'?" in said


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_text(path.read_text()[:-1]), "lines.txt: has 168 bytes instead of 169"),
        (lambda path: path.write_text(path.read_text()[::-1]), "lines.txt: its content is not what index.json says"),
        (lambda path: path.unlink(), "lines.txt: is missing"),
        (lambda path: path.with_name("index.json").unlink(), "index.json: is missing"),
    ],
    ids=["truncated", "changed", "missing", "no index"],
)
def test_damaged_data_is_named(ready: Project, damage: Callable[[Path], object], told: str) -> None:
    damage(ready.root / "data/corpus/lines.txt")
    said = refused(ready.python("-m", "pipelines.tokenizer"))
    assert f"data/corpus/{told}" in said
    assert "dvc checkout" in said


def test_a_stage_outside_the_project_says_where_it_belongs(ready: Project, tmp_path: Path) -> None:
    ran = Project(ready.root / "data").run("env", f"PYTHONPATH={ready.root}", "python", "-m", "pipelines.corpus")
    assert "dvc.yaml: is not here" in refused(ran)


def test_the_wrong_interpreter_is_told_in_one_line(ready: Project) -> None:
    ran = ready.python("-S", "-m", "pipelines.corpus")
    assert ran.code == 1
    assert len(ran.output.splitlines()) == 1
    assert "lacks pydantic" in ran.output


# --- kills


def steps_done(project: Project) -> int:
    """How many steps the corpus has in scratch."""
    files = [folder / "state/done" for folder in scratches(project)]
    return sum(len(file.read_text().splitlines()) for file in files if file.is_file())


def test_a_killed_stage_goes_on_and_ends_in_the_same_bytes(ready: Project, tmp_path: Path) -> None:
    corpus_changed(ready)
    unbroken = ready.copy(tmp_path / "unbroken")
    unbroken.repro()
    (ready.root / "slow").touch()
    chance = random.Random(5)
    for _ in range(3):
        done = steps_done(ready)
        process = ready.start("dvc", "repro")
        until(lambda done=done: steps_done(ready) > done, "corpus to do another step")
        time.sleep(chance.uniform(0.0, 0.1))
        kill(process)
    (ready.root / "slow").unlink()
    assert 3 <= steps_done(ready) < 12  # killed in the middle, so there is something to go on from
    assert ready.repro().stages == ["corpus", "tokenizer"]
    assert ready.outputs() == unbroken.outputs()
    assert ready.read("dvc.lock") == unbroken.read("dvc.lock")


def test_the_same_work_is_not_done_by_two_processes_at_once(ready: Project) -> None:
    """Killing dvc alone leaves its stage running; a second `dvc repro` must not start beside it."""
    corpus_changed(ready)
    (ready.root / "hold").touch()
    begun = computed(ready)
    process = ready.start("dvc", "repro")
    until(lambda: computed(ready) > begun, "corpus to begin")
    said = refused(ready.python("-m", "pipelines.corpus"))
    assert "is at this very work" in said
    other = int(said.partition("process ")[2].split()[0])
    assert os.path.exists(f"/proc/{other}") or os.name == "posix"
    (ready.root / "hold").unlink()
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_finished_work_is_taken_up_though_the_lock_of_another_machine_knows_its_result(ready: Project) -> None:
    """As in a clone whose `dvc.lock` has these very bytes, and whose cache has nothing yet."""
    for folder in (".dvc/cache", "data/corpus"):
        shutil.rmtree(ready.root / folder)
    undo: list[Callable[[], None]] = []
    edit = ("params.yaml", "fraction: 0.2}\n\ntokenizer", "fraction: 0.3}\n\ntokenizer")
    said = refused(while_corpus_runs(ready, lambda: undo.append(ready.edit(*edit))))
    assert "It is finished and kept" in said
    begun = computed(ready)
    undo[0]()
    assert "taken up" in ready.repro().output
    assert computed(ready) == begun
    assert ready.repro().stages == []


def test_times_that_are_noted_at_the_same_moment_are_all_kept(ready: Project) -> None:
    note = "import sys; from pipelines import work\nfor number in range(20):"
    note += " work._note_time('corpus', f'{sys.argv[1]} {number}', 1.0, resumed=False)"
    processes = [ready.start("python", "-c", note, name) for name in ("one", "other")]
    for process in processes:
        told, _ = process.communicate(timeout=60)
        assert process.returncode == 0, told
    known = json.loads(ready.read(".lmmodel/timings.json"))["corpus"]
    assert {f"{name} {number}" for name in ("one", "other") for number in range(20)} <= known.keys()


# --- handing over


def test_a_full_disk_is_told_with_the_way_back(ready: Project) -> None:
    before = ready.outputs()
    (ready.root / "full").touch()
    said = refused(ready.dvc("repro", "-f", "corpus"))
    assert "corpus: the disk is full" in said
    assert "`dvc checkout` brings it back" in " ".join(said.split())
    assert not (ready.root / "data/corpus").exists()
    assert ready.dvc("checkout").code == 0
    assert ready.outputs() == before


def test_an_unwritable_folder_is_told_with_the_way_back(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, work.plainly("corpus"):
        raise RuntimeError("could not save") from PermissionError(13, "Permission denied", "data/corpus")
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "cannot write (data/corpus): Permission denied" in said
    assert "dvc checkout" in said


def test_what_a_person_cannot_mend_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), work.plainly("corpus"):
        print(1 / 0)


def test_a_result_is_a_copy_of_its_own(ready: Project) -> None:
    """Hard links would share a file with DVC's cache, which is read-only."""
    for path in (ready.root / "data/corpus").rglob("*"):
        assert path.stat().st_nlink == 1
        assert os.access(path, os.W_OK)


def test_scratch_is_kept_until_the_result_is_recorded(ready: Project) -> None:
    assert scratches(ready) == []  # tokenizer found it in dvc.lock
    assert scratches(ready, "tokenizer")  # dvc.lock has it by now, but nobody looked since
    corpus_changed(ready)
    refused(while_corpus_runs(ready, lambda: ready.edit("params.yaml", "fraction: 0.3}\n\nt", "fraction: 0.4}\n\nt")))
    assert scratches(ready, "tokenizer") == []
    waiting = scratches(ready)
    assert len(waiting) == 1
    ready.repro()
    assert waiting[0] in scratches(ready)  # still nobody's recorded result


def test_a_finished_work_that_was_damaged_is_done_again(ready: Project) -> None:
    corpus_changed(ready)
    undo: list[Callable[[], None]] = []
    change = lambda: undo.append(ready.edit("lmmodel/text/late.py", "text[::-1]", "text[::1]"))  # noqa: E731
    refused(while_corpus_runs(ready, change))
    lines = scratches(ready)[0] / "output/lines.txt"
    lines.write_text(lines.read_text()[:-3])
    undo[0]()
    begun = computed(ready)
    ready.repro()
    assert computed(ready) == begun + 1


def test_what_lay_in_the_way_is_replaced(ready: Project) -> None:
    """A stage started by hand finds its old output there, since DVC did not remove it."""
    (ready.root / "data/corpus/stray.txt").write_text("from before")
    (ready.root / "data/.corpus.partial").mkdir()
    assert ready.python("-m", "pipelines.corpus").code == 0
    assert sorted(path.name for path in (ready.root / "data/corpus").iterdir()) == ["index.json", "lines.txt"]
    assert not (ready.root / "data/.corpus.partial").exists()


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
def test_handing_over_cut_off_at_every_file_operation_leaves_the_old_result_or_the_new_one(tmp_path: Path) -> None:
    said = power_cut.run(Path(__file__).with_name("cut_promotion.py"), tmp_path)
    assert int(said.split()[0]) > 30


def test_times_stay_on_this_machine(ready: Project) -> None:
    assert "seconds" in ready.read(".lmmodel/timings.json")
    assert "?? .lmmodel" not in ready.run("git", "status", "--short").output


def test_a_copy_shares_nothing_that_can_change(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    copy(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b").write_bytes(b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
