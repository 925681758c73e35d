"""The whole parameter file is validated at the door: one mistake anywhere is told with its line, before any work."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch

from lmmodel.params.document import parse
from lmmodel.params.refusal import Refusal
from pipelines import parameters

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


def refused(old: str, new: str) -> str:
    assert old in TEXT
    with pytest.raises(Refusal) as error:
        parameters.check(parse(TEXT.replace(old, new, 1), name="params.yaml"))
    return str(error.value)


def line_of(text: str, within: str = TEXT) -> int:
    return within[: within.index(text)].count("\n") + 1


def test_the_default_file_holds_together():
    told = parameters.read(ROOT / "params.yaml")
    assert told.seed == 1
    assert told.declaration.width == 128
    assert list(told.sections) == list(parameters.SECTIONS)
    assert told.flat["model.layers.0.attention.kind"] == "multi_head"


def test_the_last_seed_that_torch_takes_is_taken():
    told = parameters.check(parse(TEXT.replace("seed: 1 ", f"seed: {2**64 - 1} "), name="params.yaml"))
    assert torch.Generator().manual_seed(told.seed).initial_seed() == 2**64 - 1


def test_only_stages_that_draw_have_the_seed():
    told = parameters.read(ROOT / "params.yaml")
    assert {stage for stage in told.sections if "seed" in told.section(stage)} == set(parameters.SEEDED)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{kind: multi_head,", "{kind: multihead,", "model.design.attention.kind 'multihead' is not one of "),
        ("examples_per_task: 700", "examples_per_tsk: 700", "evaluate.examples_per_tsk is not a key here; there are"),
        (
            "learning_rate: 0.02",
            "learning_rate: '3e-4'",
            "pretrain.optimizer.learning_rate '3e-4' is text, and a number",
        ),
        ("width: 128", "width: 130", "model.width 130 is not divisible by heads, 4"),
        ("context: 256", "context: 0", "model.context 0 should be at least 1"),
        ("algorithm: bpe", "algorithm: bep", "tokenizer.algorithm 'bep' is not one of "),
        (
            "kind: muon",
            "kind: moun",
            "pretrain.optimizer.kind 'moun' is not one of adamw, lion, muon, schedule_free, soap: did",
        ),
        ("tokens: 1_600_000", "tokens: 1_600_000, epochs: 1", "pretrain.budget takes exactly one of tokens, epochs"),
        ("dialogues_choice", "dialogues_chioce", "evaluate.tasks.1 'dialogues_chioce' is neither a task of this"),
        ("device: auto", "device: tpu", "launch.device 'tpu' is not one of auto, cpu, cuda, mps"),
        ("seed: 1 ", "seed: one ", "seed 'one' is text, and a whole number is needed"),
        ("seed: 1 ", f"seed: {2**64} ", f"seed {2**64} should be at most 18,446,744,073,709,551,615"),
        ("seed: 1 ", "seed: -1 ", "seed -1 should be at least 0"),
        ("tied: true", "tied: yes", "model.design.embedding.tied 'yes' is a word in YAML 1.2, not a truth value"),
        ("kind: python_docs", "kind: pythn_docs", "corpus.source.kind 'pythn_docs' is not one of files, huggingface"),
        ("kind: warmup_stable_decay", "kind: experiments/x.py", "pretrain.schedule.kind 'experiments/x.py' is a file"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_the_choices(old, new, message):
    told = refused(old, new)
    assert told.startswith(f"params.yaml:{line_of(old)}: {message}")
    assert len(told.splitlines()) <= 2


def test_a_vocabulary_of_bytes_has_one_size():
    wanted = "4,096 does not go with algorithm byte, which has 256 bytes and 5 special tokens: write 261"
    place = f"params.yaml:{line_of('vocab_size')}: tokenizer.vocab_size"
    assert refused("algorithm: bpe", "algorithm: byte") == f"{place} {wanted}"
    parameters.check(
        parse(TEXT.replace("algorithm: bpe", "algorithm: byte").replace("size: 4096", "size: 261"), name="params.yaml")
    )


def test_a_duplicate_key_is_refused():
    assert refused("  depth: 6", "  depth: 6\n  depth: 7").startswith("params.yaml:13: key 'depth' is written twice")


def test_an_unknown_or_missing_section_is_named():
    assert "did you mean 'pretrain'?" in refused("\npretrain:", "\npretrian:")
    start, end = TEXT.index("\nshards:"), TEXT.index("\ndialogues:")
    assert "section 'shards' is missing" in refused(TEXT[start:end], "")


@pytest.mark.parametrize("spelling", ["3e-4", "0.0003", ".0003", "3.0e-4", "3E-4", "+3e-4", "0.3e-3"])
def test_every_spelling_of_a_number_without_quotes_is_one(spelling):
    text = TEXT.replace("learning_rate: 0.02", f"learning_rate: {spelling}", 1)
    told = parameters.check(parse(text, name="params.yaml"))
    assert told.sections["pretrain"].optimizer.options.learning_rate == 3e-4


def test_reading_the_parameters_imports_nothing_heavy():
    code = (
        "import sys; from pipelines import parameters; parameters.read();"
        "heavy = {'torch', 'numpy', 'datasets', 'pyarrow', 'mlflow', 'dagster', 'dvc', 'lm_eval', 'sentencepiece'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_schema_that_editors_use_is_current():
    committed = json.loads((ROOT / "docs" / "params.schema.json").read_text(encoding="utf-8"))
    assert committed == parameters.schema(), "run `make schema`"


def test_the_default_file_follows_its_schema():
    data = parse(TEXT, name="params.yaml").data
    jsonschema.validate(data, parameters.schema())
    for key, wrong in [("seed", "one"), ("model", {"widht": 3}), ("tokenizer", {"algorithm": "bep"})]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**data, key: wrong}, parameters.schema())


def set_by_dvc(folder: Path, *overrides: str) -> parameters.Parameters:
    """What `dvc exp run -S` makes of the file."""
    from dvc.utils.hydra import apply_overrides

    file = folder / "params.yaml"
    file.write_text(TEXT, encoding="utf-8")
    apply_overrides(str(file), list(overrides))
    return parameters.read(file)


def test_what_dvc_sets_is_understood_and_a_kind_is_changed_with_its_section(tmp_path: Path) -> None:
    """It puts a name in place of a mapping; a `kind` alone leaves the options of the other one behind."""
    assert set_by_dvc(tmp_path, "model.depth=4", "seed=3").declaration.depth == 4
    told = set_by_dvc(tmp_path, "model.design=gpt2", "pretrain.optimizer.learning_rate=3e-4")
    assert told.flat["model.layers.0.norm.kind"] == "layer"
    assert told.flat["pretrain.optimizer.learning_rate"] == 3e-4
    told = set_by_dvc(tmp_path, "model.design.attention=latent")
    assert told.flat["model.layers.0.attention.kind"] == "latent"
    with pytest.raises(Refusal, match=r"kv_heads is not an option of latent.*'latent' in place of the whole section"):
        set_by_dvc(tmp_path, "model.design.attention.kind=latent")
