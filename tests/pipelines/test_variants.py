"""What may be written in params.yaml, in every form that the grammar has: each is understood as it was meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lmmodel.architecture.count import measure
from lmmodel.architecture.declaration import Declaration
from lmmodel.params.document import Document, parse
from pipelines import parameters
from pipelines.parameters import Parameters
from tests.pipelines.a_project import ROOT

SIZE = "  width: 256\n  depth: {depth}\n  heads: 4\n  context: 256\n  design:\n"
SIX, EIGHT = SIZE.format(depth=6), SIZE.format(depth=8)

ONE_WORD = "model: {width: 256, depth: 6, heads: 4, context: 256, design: llama3}\n"
IN_FULL = f"""model:
{SIX}    norm:         {{kind: rms, epsilon: 1e-5}}
    position:     {{kind: rotary, theta: 500_000}}
    attention:    {{kind: multi_head, queries_per_kv: 4}}
    feed_forward: {{kind: gated, activation: silu, expansion: 3.5}}
    block:        prenorm
    embedding: {{tied: false}}
"""
LOCAL_AND_GLOBAL = f"""model:
{SIX}    norm:         {{kind: rms, weight: zero_centered}}
    position:     {{kind: rotary, theta: 10_000}}
    attention:    {{kind: multi_head, queries_per_kv: 2, softcap: 50.0}}
    feed_forward: {{kind: gated, activation: gelu_tanh, expansion: 4}}
    block:        sandwich
    embedding:    {{tied: true, scale: sqrt_width}}
    head:         {{softcap: 30.0}}
    layers:
      local:  {{attention: {{window: 64}}}}
      global: {{}}
    pattern: [local, global]
"""
DENSE_THEN_EXPERTS = f"""model:
{EIGHT}    norm:         rms
    position:     {{kind: rotary, theta: 10_000}}
    attention:    {{kind: latent, kv_rank: 64, query_rank: 128, rotary_width: 32}}
    feed_forward: {{kind: experts, experts: 16, active: 2, shared: 1, expansion: 0.5, balance: bias}}
    block:        prenorm
    embedding: {{tied: false}}
    layers:
      dense:  {{feed_forward: {{kind: gated, activation: silu, expansion: 3}}}}
      sparse: {{}}
    pattern: {{first: [{{dense: 2}}], repeat: [sparse]}}
"""
HYBRID = f"""model:
{EIGHT}    norm:         rms
    position:     {{kind: rotary, theta: 10_000}}
    attention:    {{kind: multi_head, kv_heads: 2, qk_norm: head, output_gate: true}}
    feed_forward: {{kind: gated, activation: silu, expansion: 3}}
    block:        prenorm
    embedding: {{tied: true}}
    layers:
      linear: {{attention: gated_delta}}
      full:   {{}}
    pattern: [{{linear: 3}}, full]
"""
ONES_OWN = (
    "model: {width: 256, depth: 6, heads: 4, context: 256, design: "
    "{like: llama3, attention: {kind: experiments/fading.py, half_life: 32}}}\n"
)
IN_ONE_LINE = (
    "model: {width: 256, depth: 8, heads: 4, context: 256, design: {like: llama3, "
    "layers: {linear: {attention: gated_delta}, full: {}}, pattern: [{linear: 3}, full]}}\n"
)
ONE_PART_ONLY = (
    "model: {width: 256, depth: 6, heads: 4, context: 256, design: {layers: {mamba: {attention: mamba2, "
    "feed_forward: none}, attend: {feed_forward: none}, think: {attention: none}}, pattern: [mamba, attend, think]}}\n"
)
FROM_THE_HUB = """
model: {width: 768, depth: 12, heads: 12, context: 512, design: llama3}
corpus:
  source:
    kind: huggingface
    name: roneneldan/TinyStories
    revision: f54c09fd23315a6f9c86f9dc80f725de7d8f9c64
    split: train
    text_column: text
  validation: {split: validation}
tokenizer: {algorithm: bpe, vocab_size: 8192, train_bytes: 200_000_000}
shards: {tokens_per_shard: 100_000_000}
pretrain:
  budget: {tokens_per_parameter: 20}
  batch_tokens: 262_144
  optimizer: {kind: muon, learning_rate: 0.02, adamw_learning_rate: 3e-3, weight_decay: 0.1}
  schedule: {kind: warmup_stable_decay, warmup_fraction: 0.02, decay_fraction: 0.5}
  precision: bfloat16
  validate: {times: 50, tokens: 4_194_304}
finetune: {method: none}
evaluate:
  tasks: [documents_bits_per_byte]
  examples_per_task: 2000
  references: [roneneldan/TinyStories-33M]
  samples: {prompts: ["Once upon a time"], tokens: 200, temperature: 0.8}
launch: {device: cuda}
"""
LORA = """
dialogues:
  source: {kind: files, paths: [data/raw/dialogues/*.jsonl]}
  validation: {fraction: 0.1}
finetune:
  method: {kind: lora, rank: 8, alpha: 16, parts: [attention, feed_forward]}
  budget: {epochs: 3}
  batch_tokens: 4096
  optimizer: {kind: adamw, learning_rate: 5e-4, weight_decay: 0.0}
  schedule: {kind: cosine, warmup_fraction: 0.05}
  precision: auto
  validate: {times: 6, tokens: 65_536}
"""


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where experiments/ is."""
    monkeypatch.chdir(ROOT)


def told(text: str) -> Parameters:
    """The default file with these sections in the place of its own."""
    default = parse((ROOT / "params.yaml").read_text(encoding="utf-8"), name="params.yaml")
    return parameters.check(Document("params.yaml", {**default.data, **parse(text, name="variant").data}, {}))


def kinds(declaration: Declaration, part: str) -> list[str]:
    return [getattr(layer, part).kind for layer in declaration.layers]


def options(declaration: Declaration, part: str, name: str) -> list[Any]:
    return [getattr(getattr(layer, part).options, name) for layer in declaration.layers]


MEANT: dict[str, tuple[str, Callable[[Declaration], bool]]] = {
    "one word": (ONE_WORD, lambda one: one.canonical() == told(IN_FULL).declaration.canonical()),
    "in full": (IN_FULL, lambda one: not one.embedding.tied and options(one, "attention", "kv_heads") == [1] * 6),
    "local and global": (
        LOCAL_AND_GLOBAL,
        lambda one: (
            options(one, "attention", "window") == [64, None] * 3
            and options(one, "attention", "softcap") == [50.0] * 6  # kept, where a layer names no kind
            and (one.head.softcap, one.embedding.scale) == (30.0, "sqrt_width")
        ),
    ),
    "dense, then experts": (
        DENSE_THEN_EXPERTS,
        lambda one: kinds(one, "feed_forward") == ["gated"] * 2 + ["experts"] * 6,
    ),
    "hybrid": (HYBRID, lambda one: kinds(one, "attention") == (["gated_delta"] * 3 + ["multi_head"]) * 2),
    "of one's own": (
        ONES_OWN,
        lambda one: (
            kinds(one, "attention") == ["experiments/fading.py"] * 6
            and options(one, "attention", "half_life") == [32] * 6
            and options(one, "position", "theta") == [500_000] * 6  # Llama's
        ),
    ),
    "in one line": (
        IN_ONE_LINE,
        lambda one: (
            kinds(one, "attention") == (["gated_delta"] * 3 + ["multi_head"]) * 2
            and options(one, "feed_forward", "hidden") == [896] * 8
        ),
    ),
    "one part only": (
        ONE_PART_ONLY,
        lambda one: (
            kinds(one, "attention") == ["mamba2", "multi_head", "none"] * 2
            and kinds(one, "feed_forward") == ["none", "none", "gated"] * 2
        ),
    ),
}


@pytest.mark.parametrize("name", MEANT)
def test_a_form_of_the_model_is_understood_as_it_was_meant_and_counted(name: str) -> None:
    text, holds = MEANT[name]
    declaration = told(text).declaration
    assert holds(declaration)
    assert Declaration.parse(declaration.canonical()).canonical() == declaration.canonical()
    assert measure(declaration).parameters > 1_000_000


def test_text_from_the_hub_on_a_gpu() -> None:
    given = told(FROM_THE_HUB)
    sections: Any = given.sections
    assert sections["corpus"].dump()["source"]["kind"] == "huggingface"
    assert given.declaration.vocab_size == 8192
    assert sections["pretrain"].budget.tokens_per_parameter == 20
    assert sections["pretrain"].sequences(512) == 512
    assert sections["finetune"].method.kind == "none"
    assert sections["evaluate"].references == ("roneneldan/TinyStories-33M",)
    assert given.launch.device == "cuda"


def test_low_rank_fine_tuning_on_ones_own_dialogues() -> None:
    section: Any = told(LORA).sections["finetune"]
    assert (section.method.kind, section.method.options.rank) == ("lora", 8)
    assert section.method.options.parts == ("attention", "feed_forward")
    assert section.schedule.kind == "cosine"
    assert section.sequences(256) == 16
