"""The section `evaluate`: names that exist, told without importing lm-eval; everything else refused in a line."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import lm_eval
import pytest
from lm_eval.tasks import TaskManager

from lmmodel.inference import task_names
from lmmodel.inference.settings import Evaluate, is_folder
from lmmodel.params.document import parse
from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import settle


def evaluate(text: str) -> Evaluate:
    return settle(Evaluate, parse(f"evaluate:\n{text}", name="params.yaml"), ("evaluate",))


def refused(text: str) -> str:
    with pytest.raises(Refusal) as error:
        evaluate(text)
    return str(error.value)


def test_the_defaults_are_those_of_the_file_that_ships():
    shipped = parse((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"), name="params.yaml")
    assert settle(Evaluate, shipped, ("evaluate",)) == Evaluate()


def test_a_misspelt_task_is_told_with_its_place_and_the_nearest_name():
    text = refused("  tasks:\n    - documents_bits_per_byte\n    - dialogues_choice\n    - helaswag\n")
    assert text == (
        "params.yaml:5: evaluate.tasks.2 'helaswag' is neither a task of this project nor of lm-eval: "
        "did you mean 'hellaswag'?"
    )


def test_tasks_groups_and_tags_of_lm_eval_are_taken_by_name():
    names = ("hellaswag", "arc_easy", "lambada_openai", "mmlu", "ai2_arc")
    assert evaluate(f"  tasks: [{', '.join(names)}]\n").tasks == names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  task: []\n", "params.yaml:2: evaluate.task is not a key here"),
        ("  examples_per_task: 0\n", "params.yaml:2: evaluate.examples_per_task 0 should be at least 1"),
        ("  tasks: dialogues_choice\n", "params.yaml:2: evaluate.tasks 'dialogues_choice' should be a list"),
        ("  tasks: [dialogues_choice, dialogues_choice]\n", "names 'dialogues_choice' twice under tasks"),
        ("  samples: {temperature: -1}\n", "takes a temperature from 0 on, not -1.0"),
        ("  samples: {tokens: none}\n", "params.yaml:2: evaluate.samples.tokens 'none'"),
    ],
)
def test_what_does_not_fit_is_refused_by_line_and_key(text, expected):
    assert expected in refused(text)


def test_a_reference_without_transformers_names_the_extra(monkeypatch):
    monkeypatch.setattr("lmmodel.inference.settings.find_spec", lambda name: None)
    assert "pip install -c constraints.txt -e '.[references]'" in refused("  references: [gpt2]\n")


def test_a_folder_that_holds_no_model_is_refused_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setattr("lmmodel.inference.settings.find_spec", lambda name: object())
    assert "no folder of Hugging Face's (no config.json)" in refused(f"  references: [{tmp_path}]\n")
    (tmp_path / "config.json").write_text("{}")
    assert evaluate(f"  references: [{tmp_path}]\n").references == (str(tmp_path),)
    assert evaluate("  references: [roneneldan/TinyStories-33M, gpt2]\n").references[1] == "gpt2"


@pytest.mark.parametrize(
    ("name", "folder"), [("gpt2", False), ("a/b", False), ("./a", True), ("/a", True), ("a/b/c", True)]
)
def test_a_folder_is_told_from_a_name(name, folder):
    assert is_folder(name) is folder


def test_a_name_is_checked_without_importing_lm_eval():
    code = (
        "import sys; from lmmodel.inference.task_names import check; check('arc_easy'); check('dialogues_choice');"
        "print(sorted({'lm_eval', 'torch', 'datasets', 'transformers'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_names_are_kept_where_the_project_keeps_things_and_read_from_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    task_names._scanned.cache_clear()
    task_names.check("arc_easy")
    assert list(tmp_path.iterdir()) == []  # a folder that is no project's stays as it was
    (tmp_path / ".lmmodel").mkdir()
    task_names._scanned.cache_clear()
    task_names.check("arc_easy")
    kept = tmp_path / ".lmmodel" / f"lm_eval-{version('lm_eval')}-tasks.txt"
    assert "hellaswag" in kept.read_text().split("\n")
    monkeypatch.setattr(task_names, "_scanned", lambda: pytest.fail("read again"))
    task_names.check("arc_easy")


def test_a_kept_list_that_is_out_of_date_refuses_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".lmmodel").mkdir()
    (tmp_path / ".lmmodel" / f"lm_eval-{version('lm_eval')}-tasks.txt").write_text("hellaswag")
    assert task_names.check("arc_easy") == "arc_easy"


def test_yaml_is_read_as_lm_eval_reads_it(tmp_path):
    (tmp_path / "base").write_text("task: from_base\ntag: [one, 'two']\n")
    (tmp_path / "base.yaml").write_text("task: based  # a remark\ntag:\n- three\n- four  # and more\n")
    (tmp_path / "a.yaml").write_text("include: base.yaml\n")
    (tmp_path / "b.yaml").write_text('include: base.yaml\ntask: "b"\ntag: five\n')
    (tmp_path / "c.yaml").write_text("group: everything\ntask:\n  - b\n  - task: inner\n")
    (tmp_path / "d.yaml").write_text("class: !function x.Y\ntask: by_class\r\n")
    (tmp_path / "e.yaml").write_text("dataset_path: nothing\n")
    theirs = TaskManager(include_path=str(tmp_path), include_defaults=False).all_tasks
    assert sorted(task_names.scan(tmp_path)) == theirs
    assert {"based", "three", "four", "b", "five", "everything", "by_class"} <= set(theirs)


@pytest.mark.slow
def test_the_names_are_those_of_lm_evals_own_index():
    assert task_names.scan(Path(lm_eval.__file__).parent / "tasks") == set(TaskManager().all_tasks)
