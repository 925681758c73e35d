"""Whole models: GPT-2 and Llama 3 written out plainly, initial values, what is told and what is handed on."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch.nn import functional as F

from lmmodel.architecture.model import build
from tests.architecture import properties
from tests.architecture.properties import declared, error


def split(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def causal(q, k, v):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.size(-1))
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return (scores.masked_fill(later, float("-inf")).softmax(-1) @ v).transpose(1, 2).flatten(2)


def gpt2(weights, tokens_BT, *, heads, depth):
    """As in OpenAI's released code, one function."""

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, x):
        centred = x - x.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(x):
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    x = weights["embedding.weight"][tokens_BT] + weights["position.table.weight"][: tokens_BT.size(1)]
    for n in range(depth):
        a = norm(f"layers.{n}.attention_norm", x)
        q, k, v = (split(linear(f"layers.{n}.attention.{part}", a), heads) for part in ("query", "key", "value"))
        x = x + linear(f"layers.{n}.attention.out", causal(q, k, v))
        a = gelu(linear(f"layers.{n}.feed_forward.up", norm(f"layers.{n}.feed_forward_norm", x)))
        x = x + linear(f"layers.{n}.feed_forward.out", a)
    return norm("norm", x) @ weights["embedding.weight"].T


def llama3(weights, tokens_BT, *, heads, depth):
    """As in Hugging Face's modeling_llama, one function: halves are rotated, four queries share a key."""

    def norm(name, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weights[f"{name}.weight"]

    def rotate(x):
        width = x.size(-1)
        frequencies = 1.0 / (500_000 ** (torch.arange(0, width, 2, dtype=x.dtype) / width))
        angles = torch.outer(torch.arange(x.size(2), dtype=x.dtype), frequencies).repeat(1, 2)
        turned = torch.cat([-x[..., width // 2 :], x[..., : width // 2]], -1)
        return x * angles.cos() + turned * angles.sin()

    x = weights["embedding.weight"][tokens_BT]
    for n in range(depth):
        a = norm(f"layers.{n}.attention_norm", x)
        q, k, v = (a @ weights[f"layers.{n}.attention.{part}.weight"].T for part in ("query", "key", "value"))
        k, v = (split(y, heads // 4).repeat_interleave(4, 1) for y in (k, v))
        x = x + causal(rotate(split(q, heads)), rotate(k), v) @ weights[f"layers.{n}.attention.out.weight"].T
        a = norm(f"layers.{n}.feed_forward_norm", x)
        gate, up = (a @ weights[f"layers.{n}.feed_forward.{part}.weight"].T for part in ("gate", "up"))
        x = x + (gate * torch.sigmoid(gate) * up) @ weights[f"layers.{n}.feed_forward.out.weight"].T
    return norm("norm", x) @ weights["head.weight"].T


@pytest.mark.parametrize("reference", [gpt2, llama3])
def test_a_published_design_equals_its_plain_formula_forward_and_backward(reference):
    made = properties.model(reference.__name__, width=64, heads=4, depth=2)
    tokens_BT, names = properties.tokens(2, 100), [name for name, _ in made.named_parameters()]
    weights = dict(made.named_parameters())
    ours, theirs = made(tokens_BT), reference(weights, tokens_BT, heads=4, depth=2)
    assert error(ours, theirs) < 1e-10
    targets_BT = properties.tokens(2, 100, seed=1)
    gradients = [
        torch.autograd.grad(F.cross_entropy(y.flatten(0, 1), targets_BT.flatten()), list(weights.values()))
        for y in (ours, theirs)
    ]
    for name, one, other in zip(names, *gradients, strict=True):
        assert error(one, other) < 1e-10, name


def test_the_model_level_options_do_what_they_say():
    plain = properties.model("{head: {softcap: 3}, embedding: {scale: sqrt_width, norm: true, tied: false}}")
    tokens_BT = properties.tokens(1, 20)
    seen = []
    plain.layers[0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    logits_BTV = plain(tokens_BT)
    assert error(seen[0], plain.embedding_norm(plain.embedding(tokens_BT) * math.sqrt(32))) < 1e-12
    hidden_BTD = plain.trace(tokens_BT).hidden_BTD
    assert error(logits_BTV, 3 * torch.tanh(hidden_BTD @ plain.head.weight.T / 3)) < 1e-12
    assert plain.unembedding_VD is plain.head.weight


def test_heads_that_look_ahead_are_asked_for_and_decode_nothing():
    made = properties.model("{head: {ahead: 2}}")
    tokens_BT = properties.tokens(2, 30)
    trace = made.trace(tokens_BT, ahead=True)
    assert [x.shape for x in trace.ahead] == [trace.hidden_BTD.shape] * 2
    assert error(trace.ahead[0], trace.ahead[1]) > 0.1
    assert made.trace(tokens_BT).ahead == ()
    trace.ahead[1].sum().backward()
    assert made.ahead[1].attention.query.weight.grad.any()
    assert made.ahead[0].attention.query.weight.grad is None


def test_equal_seeds_are_equal_models_and_the_seed_may_be_left_to_torch():
    declaration = declared("llama3")
    one, other, third = (build(declaration, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["embedding.weight"], third["embedding.weight"])
    torch.manual_seed(5)
    before = torch.get_rng_state()
    build(declaration, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    free = build(declaration).state_dict()
    torch.manual_seed(5)
    assert torch.equal(free["embedding.weight"], build(declaration).state_dict()["embedding.weight"])


def test_designs_that_share_a_component_start_equal():
    one = build(declared("{attention: {qk_norm: head}}"), seed=1).state_dict()
    other = build(
        declared("{feed_forward: plain, block: parallel}", "width: 32, depth: 5, heads: 4"), seed=1
    ).state_dict()
    shared = [name for name in one if name in other and one[name].shape == other[name].shape and "out" not in name]
    assert len(shared) >= 7
    assert all(torch.equal(one[name], other[name]) for name in shared)


@pytest.mark.parametrize(
    ("outputs", "deviation"), [("plain", 0.05), ("depth_scaled", 0.05 / math.sqrt(2 * 3)), ("zero", 0.0)]
)
def test_initial_deviations_are_those_declared(outputs, deviation):
    design = f"{{like: gpt2, initial: {{std: 0.05, outputs: {outputs}}}}}"
    made = build(declared(design, "width: 256, depth: 3, heads: 4"), seed=1)
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            wanted = deviation if ".out." in name else 0.05
            assert parameter.std().item() == pytest.approx(wanted, rel=0.05), name


def test_values_are_the_same_in_every_precision_but_for_rounding():
    declaration = declared("llama3")
    exact = build(declaration, seed=1).state_dict()
    for dtype in (torch.bfloat16, torch.float64):
        for name, value in build(declaration, seed=1, dtype=dtype).state_dict().items():
            assert value.dtype == dtype
            assert torch.equal(value, exact[name].to(dtype)), name


def test_on_meta_there_are_shapes_and_no_values():
    declaration = declared("llama3")
    shapes = {name: value.shape for name, value in build(declaration, seed=1).state_dict().items()}
    meta = build(declaration, device="meta", dtype=torch.bfloat16)
    assert {name: value.shape for name, value in meta.state_dict().items()} == shapes
    assert all(value.is_meta and value.dtype == torch.bfloat16 for value in meta.state_dict().values())
    meta.load_state_dict(build(declaration, seed=1).state_dict(), assign=True)
    assert error(meta(properties.tokens()), build(declaration, seed=1)(properties.tokens())) == 0


def test_a_tied_table_is_one_parameter_under_one_name():
    names = list(build(declared("{embedding: {tied: true}}"), seed=1).state_dict())
    assert "head.weight" not in names
    assert len(names) == len(set(names))


ADAPTS = """
    import torch
    from torch import nn
    from lmmodel.params.settings import Settings

    class Options(Settings):
        pass

    class FeedForward(nn.Module):
        def __init__(self, options, sizes):
            super().__init__()
            self.out = nn.Linear(sizes.width, sizes.width)
            self.bare = nn.Parameter(torch.zeros(7))
            self.taps = nn.Conv1d(sizes.width, sizes.width, 1)
            self.register_buffer("total", torch.zeros(()))

        def initialise(self, generator):
            self.bare.normal_(generator=generator)

        def forward(self, x_BTD, span):
            span.report(self, "tokens", x_BTD.new_tensor(x_BTD.size(0) * x_BTD.size(1)))
            span.add_loss(self, "size", x_BTD.square().mean((1, 2)))
            first_BTD = span.first("stream", x_BTD)
            return self.out(x_BTD + first_BTD) * self.bare.sum()

        def adapt(self, reports):
            self.total += reports["tokens"]
"""


@pytest.fixture
def adapting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The declaration of a design whose feed-forward reports, has a loss, and adapts."""
    monkeypatch.chdir(tmp_path)
    Path("experiments").mkdir()
    Path("experiments/part.py").write_text(dedent(ADAPTS), encoding="utf-8")
    return declared("{feed_forward: experiments/part.py}")


def test_a_component_reports_has_losses_and_adapts(adapting):
    made = build(adapting, seed=1)
    trace = made.trace(properties.tokens(2, 50))
    assert list(trace.reports) == ["layers.0.feed_forward.tokens", "layers.1.feed_forward.tokens"]
    assert [x.shape for x in trace.losses.values()] == [(2,), (2,)]
    made.adapt({"layers.0.feed_forward.tokens": torch.tensor(3.0), "layers.1.feed_forward.tokens": torch.tensor(4.0)})
    assert [layer.feed_forward.total.item() for layer in made.layers] == [3.0, 4.0]


def test_a_component_s_own_values_come_from_its_own_name(adapting):
    one, other = (build(adapting, seed=1).layers for _ in range(2))
    for name in ("bare", "taps.weight"):
        values = [layers[n].feed_forward.get_parameter(name) for layers in (one, other) for n in (0, 1)]
        assert torch.equal(values[0], values[2])
        assert not torch.equal(values[0], values[1])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.usefixtures("fresh_compiler")
def test_it_compiles_whole(adapting, packed):
    """No graph break, whatever components do. The graph is run as it is: generating code takes most of a minute."""
    windowed = declared("{like: llama3, attention: {window: 9, qk_norm: head}}", "width: 32, depth: 1, heads: 4")
    made = build(windowed if packed else adapting, seed=1)
    documents_BT = torch.arange(70).expand(2, 70) // 30 if packed else None
    compiled = torch.compile(made.trace, fullgraph=True, backend="eager")
    trace, plain = (f(properties.tokens(2, 70), documents_BT=documents_BT) for f in (compiled, made.trace))
    assert error(trace.hidden_BTD, plain.hidden_BTD) < 1e-5
    assert trace.losses.keys() == plain.losses.keys()
    assert trace.reports.keys() == plain.reports.keys()
    trace.hidden_BTD.sum().backward()


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_to_code_it_is_the_same(adapting):
    made = build(declared("{like: llama3, layers: {a: {}, b: {attention: {window: 30}}}, pattern: [a, b]}"), seed=1)
    compiled = torch.compile(made.trace, fullgraph=True)
    hidden = [f(properties.tokens(2, 256)).hidden_BTD for f in (compiled, made.trace)]
    assert error(*hidden) < 1e-4
    gradients = [torch.autograd.grad(x.square().sum(), list(made.parameters())[:-1]) for x in hidden]
    for one, other in zip(*gradients, strict=True):
        assert error(one, other) < 1e-3 * max(1.0, other.abs().max().item())
