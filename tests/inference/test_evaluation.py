"""The whole judgement, on models of two layers: every row, every file, and the same bytes twice."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lmmodel import folder
from lmmodel.inference import evaluation, report
from lmmodel.inference.evaluation import Court
from lmmodel.inference.settings import Evaluate, Samples
from lmmodel.learning import checkpoint
from lmmodel.params.refusal import Refusal

OURS = ("documents_bits_per_byte", "dialogues_choice", "dialogues_answer")
STAND_INS = [f"{name}_{how}" for how in ("given_training", "alone") for name in ("lzma", "bz2", "zlib")]


def court(ground, **changed) -> Court:
    section = Evaluate(examples_per_task=6, samples=Samples(prompts=("foot", "a game"), tokens=9))
    told = {"section": section, "corpus": ground.corpus, "dialogues": ground.dialogues, "pretrained": ground.pretrain}
    return Court(**{**told, "finetuned": ground.finetune, "device": "cpu", "seed": 3, **changed})


@pytest.fixture(scope="module")
def judged(ground, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("judged")
    court(ground).judge(place)
    return place


def contents(place: Path) -> dict[str, bytes]:
    return {
        path.relative_to(place).as_posix(): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()
    }


def test_every_row_stands_with_every_score_that_it_can_have(judged):
    summary = evaluation.read(judged)
    assert [row.name for row in summary.rows] == ["finetune", "pretrain", "untrained", "chance", *STAND_INS]
    metrics = ("bits_per_byte", "acc_mutual_info", "chrf", "acc", "acc_bytes")
    tasks = (*OURS, "dialogues_choice", "dialogues_choice")
    models = {f"{task}.{metric}" for task, metric in zip(tasks, metrics, strict=True)}
    for row in summary.rows[:3]:
        assert row.scores.keys() == models
        assert all(score.interval is not None for score in row.scores.values())
    scores = [{key: score.value for key, score in row.scores.items()} for row in summary.rows[:3]]
    assert scores[0] != scores[1] != scores[2]
    assert summary.examples == dict.fromkeys(OURS, 6)


def test_the_folder_proves_itself_and_holds_what_it_should(judged):
    assert folder.verify(judged)["examples"] == dict.fromkeys(OURS, 6)
    assert list(contents(judged)) == [
        "examples/answer.parquet",
        "examples/choice.parquet",
        "examples/documents.parquet",
        "index.json",
        "report.md",
        "samples.md",
        "scores/0-finetune.jsonl",
        "scores/1-pretrain.jsonl",
        "scores/2-untrained.jsonl",
        "summary.json",
    ]
    summary = evaluation.read(judged)
    assert (judged / "report.md").read_bytes().decode() == report.markdown(summary)
    assert (judged / "samples.md").read_bytes().decode() == report.samples(summary)


def test_the_same_judgement_is_the_same_bytes(ground, judged, tmp_path):
    court(ground).judge(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(judged)


def test_no_time_path_or_machine_is_in_what_is_written(ground, judged):
    for name, data in contents(judged).items():
        text = data.decode("utf-8", errors="replace")
        assert str(judged) not in text, name
        assert str(ground.corpus.parent) not in text, name
        assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", text), name


def test_scores_are_kept_example_by_example(judged):
    lines = [json.loads(line) for line in (judged / "scores/1-pretrain.jsonl").read_text().splitlines()]
    assert [line["task"] for line in lines] == [task for task in OURS for _ in range(6)]
    right = [line["acc"] for line in lines if line["task"] == "dialogues_choice"]
    (pretrained,) = [row for row in evaluation.read(judged).rows if row.name == "pretrain"]
    assert pretrained.scores["dialogues_choice.acc"].value == sum(right) / len(right)


def test_samples_are_drawn_by_the_seed(ground, judged, tmp_path):
    summary = evaluation.read(judged)
    assert [item.prompt for item in summary.continued] == ["foot", "a game"]
    assert [[said.who for said in item.answers] for item in summary.asked] == [["pretrained", "fine-tuned", "true"]] * 6
    other = court(ground, seed=4).judge(tmp_path / "other")
    assert [item.text for item in other.continued] != [item.text for item in summary.continued]
    assert other.asked == summary.asked


def test_without_fine_tuning_its_row_is_absent(ground, tmp_path):
    summary = court(ground, finetuned=None).judge(tmp_path / "out")
    assert [row.name for row in summary.rows] == ["pretrain", "untrained", "chance", *STAND_INS]
    assert "fine-tuned" not in report.markdown(summary) + report.samples(summary)


def test_only_what_is_asked_for_is_done(ground, tmp_path):
    section = Evaluate(examples_per_task=2, tasks=("dialogues_choice",), samples=Samples(prompts=()))
    summary = court(ground, section=section).judge(tmp_path / "out")
    assert [row.name for row in summary.rows] == ["finetune", "pretrain", "untrained", "chance"]
    assert not list((tmp_path / "out/examples").glob("[!c]*"))
    assert report.samples(summary) == "# Samples\n"


def trained_in(precision: str, known: Path, place: Path) -> Path:
    """The checkpoint in `known`, which says so of itself."""
    facts = {"stage": "pretrain", "platform": {"precision": precision}}
    words = known / checkpoint.TOKENIZER
    checkpoint.save(place, model=checkpoint.load_model(known), tokenizer=words, facts=facts)
    return place


@pytest.mark.parametrize(
    ("pretrained", "finetuned", "said"),
    [
        ("bfloat16", "bfloat16", "bfloat16, as they were trained"),
        ("bfloat16", "float32", "bfloat16, the fine-tuned one in float32, as each was trained"),
        ("float32", "float8", "float32, the fine-tuned one in bfloat16 (trained in float8), as each was trained"),
        ("float8", "float8", "bfloat16, and were trained in float8"),
        ("autocast", "autocast", "float32, and were trained in autocast"),
        ("autocast", "bfloat16", "float32 (trained in autocast), the fine-tuned one in bfloat16, as each was trained"),
    ],
)
def test_a_model_computes_in_the_precision_that_it_was_trained_in(
    pretrained, finetuned, said, ground, judged, tmp_path
):
    places = {
        "pretrained": trained_in(pretrained, ground.pretrain, tmp_path / "pretrained"),
        "finetuned": trained_in(finetuned, ground.finetune, tmp_path / "finetuned"),
    }
    found, high = court(ground, **places).judge(tmp_path / "judged"), evaluation.read(judged)
    assert f"models computed in {said}; references" in " ".join(found.notes)
    told = {"finetune": finetuned, "pretrain": pretrained, "untrained": pretrained}
    for name, precision in told.items():
        bits = [
            row.scores["documents_bits_per_byte.bits_per_byte"].value
            for summary in (found, high)
            for row in summary.rows
            if row.name == name
        ]
        assert (bits[0] == bits[1]) == (precision in ("float32", "autocast")), name
        assert bits[0] == pytest.approx(bits[1], rel=0.05)


def test_transformers_stays_out_where_no_reference_is_asked_for(ground, tmp_path):
    code = f"""
import sys
from pathlib import Path
from lmmodel.inference.evaluation import Court
from lmmodel.inference.settings import Evaluate, Samples
from lmmodel.learning import checkpoint
from lmmodel.params.refusal import Refusal
section = Evaluate(examples_per_task=1, samples=Samples(prompts=("a",), tokens=1))
places = [Path(place) for place in {[str(p) for p in (ground.corpus, ground.dialogues, ground.pretrain)]}]
Court(section, *places, None, "cpu", 1).judge(Path({str(tmp_path / "out")!r}))
print(sorted({{"transformers", "mlflow", "dagster", "matplotlib", "accelerate"}} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("which", ["pretrained", "finetuned"])
def test_a_model_without_a_tokenizer_is_refused_before_any_work(which, ground, tmp_path):
    known = checkpoint.load_model(ground.pretrain)
    (tmp_path / "nothing").mkdir()
    checkpoint.save(tmp_path / "mute", model=known, tokenizer=tmp_path / "nothing", facts={"stage": "import"})
    with pytest.raises(Refusal, match=r"mute: has no tokenizer .* token ids alone: lmmodel\.load_model"):
        court(ground, **{which: tmp_path / "mute"}).judge(tmp_path / "judged")
    assert not (tmp_path / "judged").exists()


def test_a_model_that_was_imported_with_its_tokenizer_is_judged_in_float32(ground, judged, tmp_path):
    """It has no training to tell of; the same weights get the same scores."""
    known, words = checkpoint.load_model(ground.pretrain), ground.pretrain / checkpoint.TOKENIZER
    checkpoint.save(tmp_path / "brought", model=known, tokenizer=words, facts={"stage": "import"})
    summary = court(ground, pretrained=tmp_path / "brought", finetuned=None).judge(tmp_path / "judged")
    (ours,) = (row for row in summary.rows if row.name == "pretrain")
    (theirs,) = (row for row in evaluation.read(judged).rows if row.name == "pretrain")
    assert ours.scores == theirs.scores
