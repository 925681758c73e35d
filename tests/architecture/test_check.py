"""Sound designs pass the hard checks; each fault is caught by the check that is there for it, its component named."""

from __future__ import annotations

import pytest
import torch

from lmmodel.architecture import check
from lmmodel.architecture.causes import AT_RANDOM, BEHIND_A_MASK
from tests.architecture import properties
from tests.architecture.faulty import NOISE, NORM_OVER_THE_BATCH, mixer

PEEKS = """
        def mix(self, q, k, v, span):
            y = attend(q, *span.extend(self, k, v), span)
            later = torch.roll(v, -1, dims=1)
            later[:, -1] = 0
            return y + 0.1 * later{where}
"""
FAULTS = {
    "one ahead": ("causality", PEEKS.format(where="")),
    "beyond token 64": (
        "causality",
        PEEKS.format(where=" * (torch.arange(v.size(1)) > 64)[:, None, None]"),
    ),
    "through an output of zeros": (
        "causality",
        PEEKS.format(where="")
        + """
        def initialise(self, generator):
            nn.init.zeros_(self.out.weight)
""",
    ),
    "from the mean of the sequence": (
        "causality",
        """
        def mix(self, q, k, v, span):
            return attend(q, *span.extend(self, k, v), span) + v.mean(1, keepdim=True)
""",
    ),
    "counts positions from 0 in every pass": (
        "cached",
        """
        def mix(self, q, k, v, span):
            fade = 0.9 ** torch.arange(v.size(1), dtype=v.dtype)
            return attend(q, *span.extend(self, k, v * fade[:, None, None]), span)
""",
    ),
    "forgets all but the last tokens": (
        "cached",
        """
        def mix(self, q, k, v, span):
            return attend(q, *span.extend(self, k, v, last=50), span)
""",
    ),
    "remembers nothing": (
        "cached",
        """
        def mix(self, q, k, v, span):
            weights = (q @ k.transpose(-1, -2)).softmax(-1)
            return weights @ v
        def forward(self, x_BTD, span):
            return super().forward(x_BTD, span) + torch.cumsum(x_BTD, 1)
""",
    ),
    "sees other documents": (
        "packed",
        """
        def mix(self, q, k, v, span):
            k, v = span.extend(self, k, v)
            return attend(q, k, v, span) + v.cumsum(1)[:, -q.size(1):]
""",
    ),
    "a state that leaks across documents": (
        "packed",
        """
        def mix(self, q, k, v, span):
            before = span.recall(self.value)
            total = v.cumsum(1) + (0 if before is None else before[0])
            span.keep(self.value, total[:, -1:])
            return attend(q, *span.extend(self, k, v), span) + total
""",
    ),
    "sees padding": (
        "ragged",
        """
        def mix(self, q, k, v, span):
            k, v = span.extend(self, k, v)
            return attend(q, k, v, span) + v.cumsum(1)[:, -q.size(1):]
""",
    ),
    "a norm over the batch": (
        "rows",
        """
        def mix(self, q, k, v, span):
            y = attend(q, *span.extend(self, k, v), span)
            return y - y.mean(0) if self.training else y
""",
    ),
    "a dead parameter": (
        "gradient",
        """
        def prepare(self, sizes):
            self.unused = nn.Parameter(torch.ones(3))
""",
    ),
    "a detached part": (
        "gradient",
        """
        def mix(self, q, k, v, span):
            k, v = span.extend(self, k, v)
            return attend(q, k.detach(), v, span)
""",
    ),
    "a size drawn at random": (
        "counts",
        """
        def prepare(self, sizes):
            self.more = nn.Parameter(torch.zeros(int(torch.randint(1, 10**6, ()))))
        def mix(self, q, k, v, span):
            return attend(q, *span.extend(self, k, v), span) * (1 + self.more.mean())
""",
    ),
    "mixing_flops of what torch counts already": (
        "counts",
        """
        def mixing_flops(self, context):
            return 4 * context * 32
""",
    ),
    "mixing_flops of the whole sequence": (
        "counts",
        """
        def mixing_flops(self, context):
            return context * context // 64
""",
    ),
    "mixing_flops that is no number of operations": (
        "counts",
        """
        def mixing_flops(self, context):
            return context / 3
""",
    ),
    "a value outside parameters and buffers": (
        "save",
        """
        def prepare(self, sizes):
            self.hidden = torch.randn(())
        def mix(self, q, k, v, span):
            return attend(q, *span.extend(self, k, v), span) * self.hidden
""",
    ),
    "the wrong width": (
        "shape",
        """
        def forward(self, x_BTD, span):
            return super().forward(x_BTD, span).repeat(1, 1, 1)[:, :, :, None]
""",
    ),
    "not a number": (
        "shape",
        """
        def mix(self, q, k, v, span):
            return attend(q, *span.extend(self, k, v), span) / 0
""",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_mixer_is_caught_and_named(own, fault):
    name, changes = FAULTS[fault]
    (finding,) = check.hard(own(mixer(changes)), only=[name])
    assert not finding.passed
    assert finding.stops
    assert finding.component.startswith("attention experiments/part.py") or name in ("counts", "save")
    assert name in finding.text
    assert finding.cause or "raises" in finding.found
    if "mixing_flops" in fault:
        assert finding.component.startswith("attention experiments/part.py")
        assert "mixing_flops" in finding.found


def test_work_that_torch_does_not_count_may_be_declared(own):
    sound = own(mixer("def mixing_flops(self, context):\n    return 4 * self.heads * 8"))
    assert [finding.text for finding in check.hard(sound, only=["counts"]) if not finding.passed] == []


def test_noise_in_eval_mode_is_told_as_such(own):
    findings = {finding.name: finding for finding in check.hard(own(mixer(NOISE)))}
    assert not findings["cached"].passed
    assert findings["cached"].cause == AT_RANDOM
    assert findings["causality"].passed


def test_a_gradient_that_is_lost_behind_the_mask_is_told_as_such(own):
    bias = "def bias(self, head, distance):\n    return -self.steep * distance.double().log1p()\n"
    parts = "def prepare(self, sizes):\n    self.steep = nn.Parameter(torch.ones(()))\n"
    mix = "def mix(self, q, k, v, span):\n    return attend(q, *span.extend(self, k, v), span, bias=self.bias)\n"
    (finding,) = check.hard(own(mixer(parts + bias + mix)), only=["gradient"])
    assert "is not finite" in finding.found
    assert finding.cause == BEHIND_A_MASK


def test_the_mixer_that_faults_are_put_into_is_sound(own):
    assert [finding for finding in check.hard(own(mixer("pass"))) if not finding.passed] == []


def test_a_mixer_that_looks_ahead_through_zeros_would_pass_were_parameters_not_redrawn(own):
    declaration = own(mixer(FAULTS["through an output of zeros"][1]))
    tokens_BT = properties.tokens(1, 50)
    changed_BT = tokens_BT.clone()
    changed_BT[:, -1] += 1
    model = check.build(
        declaration.model_copy(update={"initial": declaration.initial.model_copy(update={"outputs": "zero"})}), seed=0
    )
    with torch.no_grad():
        assert torch.equal(model(tokens_BT)[:, :-1], model(changed_BT)[:, :-1])


POSITION_THAT_COUNTS_ITSELF = """
    import torch
    from torch import nn
    from lmmodel.params.settings import Settings

    class Options(Settings):
        pass

    class Position(nn.Module):
        acts_on = "queries and keys"
        bias = None

        def __init__(self, options, sizes):
            super().__init__()

        def embed(self, x_BTD, positions_BT):
            return x_BTD

        def rotate(self, x_BTHK, positions_BT):
            return x_BTHK * torch.arange(1, x_BTHK.size(1) + 1, dtype=x_BTHK.dtype)[:, None, None].log1p()
"""


def test_a_norm_over_the_batch_is_named(own):
    findings = {finding.name: finding for finding in check.hard(own(NORM_OVER_THE_BATCH, "norm"))}
    assert not findings["rows"].passed
    assert findings["rows"].component == "norm experiments/part.py in layer 0"
    assert "other rows" in findings["rows"].found


def test_a_position_that_counts_from_0_is_named_with_the_mixer_it_serves(own):
    findings = {finding.name: finding for finding in check.hard(own(POSITION_THAT_COUNTS_ITSELF, "position"))}
    assert not findings["cached"].passed
    assert findings["cached"].component == "attention multi_head with position experiments/part.py in layer 0"
    assert "token 67" in findings["cached"].found


def test_a_component_that_raises_is_named(own):
    findings = check.hard(own(mixer("def mix(self, q, k, v, span):\n    return q @ k")))
    assert "RuntimeError" in findings[0].found
    assert findings[0].component.startswith("attention experiments/part.py")


def test_a_component_that_cannot_be_made_is_told(own):
    (finding,) = check.hard(own(mixer("def prepare(self, sizes):\n    raise ValueError('heads are odd')")))
    assert finding.stops
    assert "cannot be built" in finding.found
    assert "heads are odd" in finding.found


def test_what_is_accepted_does_not_stop(own):
    declaration = own(mixer(FAULTS["sees padding"][1]))
    accepted = declaration.model_copy(update={"accept": ("packed", "ragged")})
    findings = {finding.name: finding for finding in check.hard(accepted)}
    assert not findings["ragged"].passed
    assert findings["ragged"].accepted
    assert not findings["ragged"].stops
    assert [finding.name for finding in findings.values() if finding.stops] == []


@pytest.mark.parametrize(
    "design",
    [
        "gpt2",
        "llama3",
        "{attention: {window: 20, qk_norm: width}, embedding: {scale: sqrt_width}, head: {softcap: 20, ahead: 2}}",
        "{layers: {mix: {feed_forward: none}, think: {attention: none}}, pattern: [mix, think]}",
        "{norm: none, feed_forward: experts, block: reordered, embedding: {scale: sqrt_width, tied: false}}",
        "{norm: none, block: postnorm, embedding: {scale: sqrt_width, tied: false}, head: {ahead: 2}}",
        "{embedding: {ngrams: [50, 70, 1]}}",
        "{block: {kind: parallel, norms: separate}, norm: {kind: rms, weight: zero_centered}, embedding: {norm: true}}",
    ],
)
def test_sound_designs_pass(design):
    assert [finding for finding in check.hard(properties.declared(design)) if not finding.passed] == []


def test_a_window_is_passed_even_in_a_small_context():
    declaration = check.reduced(properties.declared("{attention: {window: 250}}", "depth: 3, context: 300"))
    assert declaration.context == 300
    assert check.length(check.build(declaration, seed=0)) == 282


def test_every_unlike_layer_stays():
    design = "{layers: {a: {attention: {window: 8}}, b: {}}, pattern: [a, a, b]}"
    declaration = check.reduced(properties.declared(design, "width: 64, depth: 7, context: 64"))
    assert [layer.attention.options.window for layer in declaration.layers] == [None, 8]  # the last is like the last
    assert declaration.depth == 2
    assert declaration.context == 192


def test_a_layer_is_named_by_its_number_in_the_whole_design(own):
    sound = own(mixer(FAULTS["one ahead"][1]))
    good = properties.declared("{attention: multi_head}").layers[0]
    whole = sound.model_copy(update={"layers": (good, good, good, sound.layers[0]), "depth": 4})
    (finding,) = check.hard(whole, only=["causality"])
    assert finding.component == "attention experiments/part.py with position rotary in layer 3"
