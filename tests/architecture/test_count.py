"""What is counted is what is there: parameters, FLOPs, cache, activations."""

from __future__ import annotations

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lmmodel.architecture import count
from lmmodel.architecture.finding import describe
from lmmodel.architecture.model import build
from lmmodel.architecture.resolve import published
from lmmodel.architecture.roles import roles
from tests.architecture.faulty import RENAMING_BLOCK
from tests.architecture.properties import declared

SIZE = "width: 32, depth: 3, heads: 4, context: {context}"
DESIGNS = {
    "llama3": "{like: llama3}",
    "gpt2": "{like: gpt2}",
    "hybrid": "{layers: {a: {attention: {window: 9}}, b: {attention: none}, c: {block: parallel}}, pattern: [a, b, c]}",
    "ahead": "{head: {ahead: 2, softcap: 3}, embedding: {norm: true}}",
    "ahead of a hybrid": "{layers: {a: {attention: none}, b: {}}, pattern: [{a: 3}, b], head: {ahead: 1}}",
    "runs": "{embedding: {ngrams: [500, 70]}}",
}


def test_llama_3_8b_is_counted_exactly():
    sizes = published("llama3")
    vocab_size = sizes.pop("vocab_size")
    size = ", ".join(f"{key}: {value}" for key, value in sizes.items())
    counts = count.measure(declared("llama3", size, vocab_size))
    assert counts.parameters == 8_030_261_248
    assert counts.parts["attention"].parameters == 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024)
    assert counts.parts["feed_forward"].flops_per_token == 32 * 2 * 3 * 4096 * 14336
    assert counts.cache_bytes_per_token == 32 * 2 * 8 * 128 * 2
    assert counts.flops_per_token == 2 * (counts.parameters - 128256 * 4096 - 65 * 4096) + 32 * 4 * 8192 * 4096


def test_gpt_2_is_counted_exactly():
    counts = count.measure(declared("gpt2", "width: 768, depth: 12, heads: 12, context: 1024", 50_257))
    assert counts.parameters == 124_439_808
    assert counts.parts["embedding"].parameters == (50_257 + 1024) * 768
    assert counts.parts["head"].parameters == 0
    assert counts.parts["head"].flops_per_token == 2 * 50_257 * 768


@pytest.mark.parametrize("design", DESIGNS)
def test_parameters_are_those_of_the_model(design):
    declaration = declared(DESIGNS[design], "width: 32, depth: 7, heads: 4, context: 64")
    made, counts = build(declaration, seed=1), count.measure(declaration)
    assert counts.parameters == sum(parameter.numel() for parameter in made.parameters())
    assert counts.parameters == sum(part.parameters for part in counts.parts.values())
    assert counts.parameters == sum(counts.parameters_by_role.values())
    matrices = sum(made.get_parameter(name).numel() for name, role in roles(made).items() if role == "matrix")
    assert counts.parameters_by_role["matrix"] == matrices


@pytest.mark.parametrize("design", DESIGNS)
def test_flops_are_those_that_torch_counts(design):
    declaration = declared(DESIGNS[design], "width: 32, depth: 7, heads: 4, context: 64")
    made, counts = build(declaration, device="meta"), count.measure(declaration)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        made(torch.zeros(1, 64, dtype=torch.int64, device="meta"))
    assert counts.flops_per_token == counter.get_total_flops() / 64
    assert counts.flops_per_token == sum(p.flops_per_token for name, p in counts.parts.items() if name != "ahead")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for hidden_BTD in made.trace(torch.zeros(1, 64, dtype=torch.int64, device="meta"), ahead=True).ahead:
            made.logits(hidden_BTD)
    beyond = counts.parts["ahead"].flops_per_token if "ahead" in counts.parts else 0
    assert beyond == counter.get_total_flops() / 64 + counts.parts["head"].flops_per_token - counts.flops_per_token
    assert counts.training_flops_per_token == 3 * (counts.flops_per_token + beyond)
    assert bool(beyond) == ("ahead" in design)


@pytest.mark.parametrize("design", DESIGNS)
def test_the_cache_is_as_large_as_counted(design):
    declaration = declared(DESIGNS[design], "width: 32, depth: 7, heads: 4, context: 64")
    counts = count.measure(declaration)
    made = build(declaration, seed=1, dtype=torch.bfloat16)
    state = made.state(1, 64)
    made(torch.zeros(1, 64, dtype=torch.int64), state=state)
    assert counts.cache_bytes == state.bytes()
    growing = [layer.attention for layer in made.layers if layer.attention and layer.attention.window is None]
    assert counts.cache_bytes_per_token == sum(4 * attention.key.out_features for attention in growing)


@pytest.mark.parametrize("design", ["llama3", "gpt2", "bloom", "gemma2"])
def test_activations_are_those_that_a_real_pass_keeps(design):
    declaration = declared(design, SIZE.format(context=64))
    made = build(declaration, seed=1)
    weights = {parameter.data_ptr() for parameter in made.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made.trace(torch.zeros(1, 64, dtype=torch.int64))
    real = sum(size for size, _ in kept.values())
    assert count.measure(declaration).activation_bytes == pytest.approx(real, rel=0.01)


@pytest.mark.parametrize(("design", "scores"), [("llama3", 0), ("bloom", 1), ("gemma2", 2)])
def test_scores_are_among_the_activations_where_no_fused_kernel_takes_them(design, scores):
    short, long = (
        count.measure(declared(design, SIZE.format(context=context))).activation_bytes for context in (64, 128)
    )
    beyond = (long - 2 * short) / (3 * 4 * 4 * (128**2 - 2 * 64**2))  # in scores of four bytes, of three layers' heads
    assert scores <= beyond < (scores + 1 if scores else 0.01)


@pytest.mark.parametrize("design", DESIGNS)
def test_without_computing_anything_the_counts_are_the_same(design, monkeypatch):
    declaration = declared(DESIGNS[design], "width: 32, depth: 7, heads: 4, context: 64")
    computed = count.measure(declaration)
    monkeypatch.setattr(count, "_REALLY_RUN", 0)
    assert count.measure(declaration) == computed


def test_what_a_block_of_ones_own_calls_otherwise_is_the_block_s_in_parameters_and_flops_alike(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.py").write_text(RENAMING_BLOCK)
    size = "width: 32, depth: 2, heads: 4, context: 64"
    parts = count.measure(declared("{block: experiments/mine.py}", size)).parts
    plain = count.measure(declared("{}", size)).parts
    assert parts["block"].parameters == plain["attention"].parameters + plain["feed_forward"].parameters
    assert parts["block"].flops_per_token == plain["attention"].flops_per_token + plain["feed_forward"].flops_per_token
    assert parts["norm"] == plain["norm"]
    assert parts.keys() == plain.keys() - {"attention", "feed_forward"} | {"block"}
    whole = build(declared("{block: experiments/mine.py}", size), seed=1)
    assert describe(whole, "layers.1.mixer.query") == "block experiments/mine.py in layer (mixer.query)"
    assert describe(whole, "layers.1.first_norm") == "norm rms in layer"


def test_memory_for_training_follows_the_optimizer():
    counts = count.measure(declared("llama3"))
    matrices = counts.parameters_by_role["matrix"]
    assert counts.training_bytes() == 16 * counts.parameters
    assert counts.training_bytes(matrix_state=4) == 16 * counts.parameters - 4 * matrices


def test_counts_are_plain_data():
    counts = count.measure(declared("llama3"))
    data = json.loads(json.dumps(counts.dump()))
    assert data["parts"]["norm"] == {"parameters": 5 * 32, "flops_per_token": 0}
    assert data["parameters"] == counts.parameters
