"""Pages, line by line, on a small project: what a person reads when all is well, and when it is not."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from lmmodel.params.refusal import Refusal
from pipelines import outlook, parameters, paths, record, standing, work
from pipelines.pages import generate, kinds, plan, report
from tests.pipelines import a_project


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is as wide as the terminal, and these are for 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("VIRTUAL_ENV", ".venv")


def took(**seconds: float) -> None:
    """Note on this machine how long stages took."""
    known = {name: {record.read(paths.stage(name)).identity: {"seconds": s}} for name, s in seconds.items()}
    work.TIMINGS.parent.mkdir(exist_ok=True)
    work.TIMINGS.write_text(json.dumps(known))


def edit(old: str, new: str) -> None:
    path = Path("params.yaml")
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def told(page: Any) -> str:
    return "\n".join(page(standing.survey(parameters.read())))


REPORT = """\
lmmodel                                                                     everything is up to date

  model       5.77 M parameters: 6 layers, width 128, context 256, vocabulary 4,096
              rms, rotary, multi_head (4 heads on 2 key-value heads, qk_norm head, value_residual),
              gated silu, prenorm (scalars stream_and_first)
  pretrain    2.50 M tokens of python_docs, 4.0 times over, 98.2 TFLOP: 3 min 12 s at 13,000
              tokens/s
  finetune    3,911 dialogues, twice over, every weight: restored
  machine     2 cores, bfloat16, torch 2.13.0
"""


def test_the_report_shows_what_stands_and_how_long_it_took_here(finished: Path) -> None:
    took(pretrain=192.2)
    page = told(report.page)
    assert page.startswith(REPORT)
    assert "fine-tuned" in page
    assert "What does shutil.disk_usage(path) do?" in page
    assert max(len(line) for line in page.splitlines() if "http://" not in line) <= 100  # an address stays in one piece


def test_a_stage_that_was_stopped_on_the_way_does_not_pretend_to_a_pace(finished: Path) -> None:
    took(pretrain=192.2)
    known = json.loads(work.TIMINGS.read_text())
    next(iter(known["pretrain"].values()))["resumed"] = True
    work.TIMINGS.write_text(json.dumps(known))
    assert "stopped and resumed, the last part in 3 min 12 s" in " ".join(told(report.page).split())


def test_the_report_says_what_is_out_of_date_and_shows_what_was_made_before(finished: Path) -> None:
    took(pretrain=192.2)
    edit("width: 128", "width: 64")
    lines = told(report.page).splitlines()
    assert lines[0].endswith("out of date: pretrain, finetune and evaluate")
    assert lines[1].startswith("  pretrain    model.width was 128 and is 64 now; model.head_width was 32 and is 16 now")
    assert "5.77 M parameters" in "\n".join(lines)


def test_where_nothing_was_made_the_report_says_what_to_type(finished: Path) -> None:
    shutil.rmtree("models")
    shutil.rmtree("data")
    paths.LOCK.unlink()
    page = told(report.page)
    assert "out of date: everything" in page
    assert "No model stands here yet" in page


def test_a_skipped_fine_tuning_is_said_to_be_skipped(finished: Path) -> None:
    paths.stage("finetune").metrics.write_text('{"skipped": "finetune.method is none"}')
    assert "finetune    skipped: finetune.method is none" in told(report.page)


def test_a_damaged_file_is_named_with_its_remedy(finished: Path) -> None:
    Path("models/pretrain/declaration.json").write_text("{")
    with pytest.raises(Refusal, match=r"models/pretrain/declaration.json: is missing or damaged; `dvc checkout"):
        told(report.page)


def test_data_that_was_freed_does_not_keep_the_report_from_being_shown(finished: Path) -> None:
    shutil.rmtree("data/shards")
    assert "out of date: shards" in told(report.page)


def planned() -> str:
    return "\n".join(plan.page(outlook.plan(parameters.read())))


def test_the_plan_is_one_line_where_there_is_nothing_to_do(finished: Path) -> None:
    assert planned() == "params.yaml is sound, and everything is up to date."


def test_the_plan_names_the_cause_and_adds_up_the_times(finished: Path) -> None:
    took(pretrain=192.2, finetune=46, evaluate=31)
    edit("depth: 6", "depth: 7")
    page = planned()
    assert "  pretrain    run          3 min 12 s   model.depth was 6 and is 7 now" in page
    assert "  finetune    run unless   46 s         unless pretrain gives the same bytes" in page
    assert "  corpus, tokenizer, shards and dialogues:  unchanged" in page
    assert "About 4 min 40 s altogether, as the last time." in page


def test_the_plan_as_data_holds_every_stage(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit("tokens_per_shard: 1_000_000", "tokens_per_shard: 500_000")
    plan.show(argparse.Namespace(json=True))
    entries = {entry["stage"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(entries) == list(paths.stages())
    for stage in ("design", "shards"):
        assert entries[stage]["action"] == "run"
        assert entries[stage]["why"] == ["shards.tokens_per_shard was 1000000 and is 500000 now"]
    assert entries["pretrain"]["action"] == "run unless"
    assert entries["pretrain"]["unless"] == ["shards"]
    assert entries["corpus"]["action"] == "unchanged"


def test_generate_takes_the_model_that_was_trained_last(finished: Path) -> None:
    assert generate.standing_checkpoint() == Path("models/finetune")
    Path("models/finetune/checkpoint.json").unlink()
    assert generate.standing_checkpoint() == Path("models/pretrain")


@pytest.mark.parametrize("name", kinds.FAMILIES)
def test_the_menu_shows_every_kind_with_every_option(name: str) -> None:
    family = kinds.FAMILIES[name]
    page = " ".join(" ".join(kinds.family_page(name)).split())
    for kind in family.names():
        assert kind in page
        assert all(option in page for option in family.options(kind).model_fields)


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, family in kinds.FAMILIES.items() for k in family.names()])
def test_a_kind_in_full_says_what_each_option_takes_and_fits_the_page(name: str, kind: str) -> None:
    lines = list(kinds.kind_page(name, kind))
    rows = [line.split() for line in lines]
    for option in kinds.FAMILIES[name].options(kind).model_fields:
        assert any(row[:1] == [option] and len(row) > 2 for row in rows)
    assert max(map(len, lines)) <= 120


def test_bounds_and_choices_of_an_option_are_said_in_words() -> None:
    page = "\n".join(kinds.kind_page("attention", "multi_head"))
    assert re.search("kv_heads +a whole number from 1 +-", page)
    assert "none, head or width" in page


def test_a_kind_of_ones_own_is_found(finished: Path) -> None:
    text = "class Options: ...\nclass Attention: ...\n"
    Path("experiments/mine.py").write_text(text)
    Path("experiments/broken.py").write_text("class Options(")
    Path("experiments/other.py").write_text("class Options: ...\n")
    assert kinds.own_kinds(kinds.FAMILIES["attention"]) == ["experiments/mine.py"]
    assert kinds.own_kinds(kinds.FAMILIES["norm"]) == []


def test_every_stage_that_can_run_has_a_time_to_expect() -> None:
    assert set(plan._USUAL_SECONDS) == set(paths.stages())


def test_a_project_made_for_tests_is_what_the_stages_would_leave(finished: Path) -> None:
    assert [item.is_current for item in standing.survey(parameters.read())] == [True] * len(a_project.METRICS)
