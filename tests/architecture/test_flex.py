"""FlexAttention equals plain loops over heads and tokens, forward and backward, and is taken where torch has a kernel.

Without a GPU its mathematics is torch's own, uncompiled; that what it is given can be compiled is tried apart.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lmmodel.architecture import attend as module
from lmmodel.architecture import flex
from lmmodel.architecture.attend import attend
from lmmodel.architecture.model import Model, build
from lmmodel.architecture.position.alibi import Options, Position
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.learning import machine
from tests.architecture import properties
from tests.architecture.naive import DOCUMENTS, assert_equal, naive, span_of, tensors

pytestmark = [  # torch's own, of FlexAttention uncompiled
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]

SIZES = Sizes(width=32, depth=1, heads=4, head_width=8, context=64)


@pytest.fixture
def taken(monkeypatch):
    """FlexAttention wherever it may be, on a CPU too, gradients included: torch only refuses them where it compiles."""
    from torch.nn.attention import flex_attention as theirs

    passes = []
    monkeypatch.setattr(theirs, "_validate_device", lambda *_: None)
    monkeypatch.setattr(module, "_flex_pays", lambda *_: passes.append(1) or True)
    torch._dynamo.reset()  # or a length, or a cap, that is another than before would be compiled for any
    return passes


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 1, 4, 18])
@pytest.mark.parametrize("packed", [False, True])
def test_masks_equal_plain_loops(groups, window, packed, taken):
    S, documents, leaves = 18, DOCUMENTS if packed else None, tensors(18, 18, groups=groups)

    def sees(b: int, t: int, s: int) -> bool:
        return 0 <= t - s < (window or S) and (documents is None or bool(documents[b, t] == documents[b, s]))

    # a cap that caps nothing, so that what a fused kernel could take comes here too
    ours = attend(*leaves, span_of(S, S, documents), window=window, softcap=1e9)
    assert taken
    assert_equal(ours, naive(*leaves, sees), leaves)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("extra", ["bias", "softcap", "sink_H", "scale", "all"])
def test_what_may_be_done_to_scores_equals_plain_loops(extra, packed, taken):
    leaves, documents = tensors(18, 18), DOCUMENTS if packed else None
    sink_H, slope_H = (torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    bias = lambda head, distance: -slope_H[head].abs() * distance  # noqa: E731
    extras = {"bias": bias, "softcap": 0.7, "sink_H": sink_H, "scale": 0.3}
    told = extras if extra == "all" else {extra: extras[extra]}
    leaves += tuple(leaf for name, leaf in (("bias", slope_H), ("sink_H", sink_H)) if name in told)

    def sees(b: int, t: int, s: int) -> bool:
        return 0 <= t - s < 5 and (documents is None or bool(documents[b, t] == documents[b, s]))

    ours = attend(*leaves[:3], span_of(18, 18, documents), window=5, **told)
    assert taken
    assert_equal(ours, naive(*leaves[:3], sees, **told), leaves)


DESIGNS = {
    "alibi, softcap": "{position: alibi, attention: {kind: multi_head, softcap: 5.0}}",
    "relative, window": "{position: relative, attention: {kind: multi_head, window: 40, kv_heads: 2}}",
    "rotary, sinks, window": "{attention: {kind: multi_head, window: 40, sinks: true}}",
    "latent, alibi": "{position: alibi, attention: {kind: latent, rotary_width: 8}}",
}


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("packed", [False, True])
def test_models_are_what_they_are_with_plain_products(design, packed, taken, monkeypatch):
    """Blocks of 128 tokens of which some are left out, positions that begin anew, layers that share their masks."""
    made = properties.model(DESIGNS[design], depth=2)
    tokens_BT = properties.tokens(2, 300)
    documents_BT = (torch.arange(300) // 140).expand(2, 300) if packed else None
    results = [_gradients(made, tokens_BT, documents_BT)]
    assert taken
    monkeypatch.setattr(module, "_flex_pays", lambda *_: False)
    results.append(_gradients(made, tokens_BT, documents_BT))
    for name, got in results[0].items():
        expected = results[1][name]
        assert properties.error(got, expected) < 1e-8 * max(1.0, expected.abs().max().item()), name


def _gradients(made: Model, tokens_BT: torch.Tensor, documents_BT: torch.Tensor | None) -> dict[str, torch.Tensor]:
    made.zero_grad()
    logits_BTV = made(tokens_BT, documents_BT=documents_BT)
    (
        logits_BTV * torch.linspace(-1, 1, logits_BTV.numel(), dtype=logits_BTV.dtype).view_as(logits_BTV)
    ).sum().backward()
    gradients = {name: parameter.grad for name, parameter in made.named_parameters()}
    return {"logits": logits_BTV.detach(), **{name: each for name, each in gradients.items() if each is not None}}


@pytest.mark.parametrize("design", ["relative, window", "rotary, sinks, window"])
def test_the_whole_model_is_one_graph_forward_and_backward(design, taken):
    """As torch.compile sees it: no break, masks and biases traced."""
    made = properties.model(DESIGNS[design], depth=2)
    tokens_BT, documents_BT = properties.tokens(2, 150), (torch.arange(150) // 70).expand(2, 150)
    expected = _gradients(made, tokens_BT, documents_BT)
    compiled = torch.compile(made, backend="aot_eager", dynamic=False, fullgraph=True)
    got = _gradients(compiled, tokens_BT, documents_BT)
    for name, value in expected.items():
        found = got[name if name == "logits" else f"_orig_mod.{name}"]
        assert properties.error(found, value) < 1e-8 * max(1.0, value.abs().max().item()), name


@pytest.mark.slow
@pytest.mark.skipif(not machine.compiler(), reason="Inductor needs a compiler")
def test_the_kernel_that_is_written_for_a_processor_equals_the_plain_products(taken, monkeypatch):
    """Forward alone: there is no other. Scores capped, a bias and a window, documents that begin anew."""
    span = Span(torch.zeros(2, 300, dtype=torch.int64), documents_BT=(torch.arange(300) // 140).expand(2, 300))
    told = {"window": 90, "softcap": 0.7, "bias": Position(Options(), SIZES).bias}
    q, k, v = (leaf.detach().float() for leaf in tensors(300, 300))
    with torch.no_grad():
        got = torch.compile(attend, dynamic=False, fullgraph=True)(q, k, v, span, **told)
        assert taken
        monkeypatch.setattr(module, "_flex_pays", lambda *_: False)
        assert properties.error(got, attend(q, k, v, span, **told)) < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel that is trained with needs a GPU")
@pytest.mark.parametrize("design", [name for name in DESIGNS if name != "latent, alibi"])
def test_the_kernel_that_is_written_for_a_gpu_equals_the_plain_products(design):
    declaration = properties.declared(DESIGNS[design], "width: 128, depth: 2, heads: 4, context: 512")
    made = build(declaration, seed=1)
    properties.redraw(made)
    made = made.cuda()
    tokens_BT = properties.tokens(2, 512).cuda()
    documents_BT = (torch.arange(512, device="cuda") // 200).expand(2, 512)
    expected = _gradients(made, tokens_BT, documents_BT)
    got = _gradients(torch.compile(made, dynamic=False, fullgraph=True), tokens_BT, documents_BT)
    for name, value in expected.items():
        found = got[name if name == "logits" else f"_orig_mod.{name}"]
        assert properties.error(found, value) < 1e-3 * max(1.0, value.abs().max().item()), name


def test_blocks_are_made_once_a_pass_for_all_layers(taken, monkeypatch):
    made, calls = properties.model(DESIGNS["relative, window"], depth=3), []
    whole = flex._blocks
    monkeypatch.setattr(flex, "_blocks", lambda *told: calls.append(told) or whole(*told))
    made(properties.tokens(1, 200))
    assert len(calls) == 1
    assert len(taken) == 3


@pytest.mark.parametrize(
    ("dtype", "width", "T", "S", "has"),
    [
        (torch.bfloat16, 64, 256, 256, True),
        (torch.bfloat16, 256, 256, 256, True),
        (torch.float32, 64, 128, 128, True),
        (torch.float32, 256, 256, 256, False),
        (torch.float64, 64, 256, 256, False),
        (torch.bfloat16, 8, 256, 256, False),
        (torch.bfloat16, 64, 64, 64, False),
        (torch.bfloat16, 64, 1, 256, False),
        (torch.bfloat16, 64, 200, 256, False),
    ],
)
def test_a_kernel_is_for_whole_passes_and_for_heads_that_fit(dtype, width, T, S, has):
    q_BTHK, k_BSGK, v_BSGV = (torch.empty(2, length, 4, width, dtype=dtype) for length in (T, S, S))
    assert flex.has_kernel(q_BTHK, k_BSGK, v_BSGV) == has
    assert not flex.has_kernel(q_BTHK, k_BSGK, v_BSGV.half())


class OnGpu:
    """As much of a tensor on a GPU as the choice looks at."""

    device, dtype = torch.device("cuda"), torch.bfloat16

    def size(self, dimension: int) -> int:
        """256 tokens, heads of 64 numbers."""
        return {1: 256, -1: 64}[dimension]


@pytest.mark.parametrize("determined", [False, True])
@pytest.mark.parametrize("compiling", [False, True])
def test_it_is_taken_while_compiling_for_a_gpu_unless_bits_would_vary(compiling, determined, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: determined)
    on_gpu, on_cpu = [OnGpu()] * 3, [torch.empty(1, 256, 4, 64, dtype=torch.bfloat16)] * 3
    table = nn.Linear(1, 1)
    biases = {"none": None, "alibi": Position(Options(), SIZES).bias, "learned": table.forward, "free": lambda h, d: d}
    pays = {name: module._flex_pays(*on_gpu, bias) for name, bias in biases.items()}
    learned = compiling and not determined
    assert pays == {"none": compiling, "alibi": compiling, "learned": learned, "free": learned}
    assert not any(module._flex_pays(*on_cpu, bias) for bias in biases.values())


def test_what_a_fused_kernel_takes_is_left_to_it(taken):
    attend(*tensors(18, 18), span_of(18, 18))
    assert not taken
    assert (
        attend(*tensors(18, 18), Span(torch.zeros(2, 18, dtype=torch.int64), probing=True), softcap=3.0).shape[1] == 18
    )
    assert not taken
