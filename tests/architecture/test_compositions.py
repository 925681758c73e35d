"""Random designs from what the declarations allow: each builds, is sound, and is as large as counted."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmmodel.architecture import check, count
from lmmodel.architecture.model import build
from tests.architecture.properties import declared

NORMS = ("{kind: rms}", "{kind: rms, weight: zero_centered}", "layer", "{kind: layer, bias: false}")
POSITIONS = ("none", "learned", "rotary", "{kind: rotary, theta: 500, fraction: 0.5}")
FEED_FORWARDS = (
    "none",
    "{kind: plain, activation: relu_squared, bias: true}",
    "{kind: plain, hidden: 12}",
    "{kind: gated, expansion: 2.3, bias: true}",
    "{kind: gated, activation: gelu}",
)
BLOCKS = ("prenorm", "parallel", "{kind: parallel, norms: separate}")


@st.composite
def attentions(draw) -> str:
    """Multi-head attention with any of its options, or none."""
    options = [draw(st.sampled_from(("", "kv_heads: 1", "kv_heads: 2", "queries_per_kv: 2")))]
    options.append(draw(st.sampled_from(("", "window: 2", "window: 13", "window_fraction: 0.5"))))
    options.append(f"qk_norm: {draw(st.sampled_from(('none', 'head', 'width')))}")
    options.append(f"bias: {draw(st.sampled_from(('true', 'false')))}")
    told = ", ".join(option for option in options if option)
    return draw(st.sampled_from((f"{{kind: multi_head, {told}}}", f"{{kind: multi_head, {told}}}", "none")))


@st.composite
def layers(draw) -> str:
    """What one layer changes."""
    parts = {
        "attention": draw(attentions()),
        "feed_forward": draw(st.sampled_from(FEED_FORWARDS)),
        "block": draw(st.sampled_from(BLOCKS)),
    }
    return "{" + ", ".join(f"{name}: {part}" for name, part in parts.items()) + "}"


@st.composite
def designs(draw) -> str:
    """A design of one to three unlike layers; the last one mixes, so that the parts before it have an effect."""
    told = {name: draw(layers()) for name in draw(st.sampled_from((("a",), ("a", "b"), ("a", "b", "c"))))}
    flag = st.sampled_from(("true", "false"))
    return f"""{{norm: {draw(st.sampled_from(NORMS))}, position: {draw(st.sampled_from(POSITIONS))},
        layers: {{{", ".join(f"{name}: {layer}" for name, layer in told.items())}}}, pattern: [{", ".join(told)}],
        embedding: {{tied: {draw(flag)}, norm: {draw(flag)}, scale: {draw(st.sampled_from(("none", "sqrt_width")))}}},
        head: {{ahead: {draw(st.integers(0, 1))}{draw(st.sampled_from(("", ", softcap: 30")))}}},
        initial: {{outputs: {draw(st.sampled_from(("plain", "zero", "depth_scaled")))}}}}}"""


def assert_sound_and_counted(design: str) -> None:
    declaration = declared(design.replace("\n", " "), "width: 16, depth: 3, heads: 4, context: 48")
    assert [finding.text for finding in check.hard(declaration) if not finding.passed] == []
    counts = count.measure(declaration)
    made = build(declaration, seed=1)
    assert counts.parameters == sum(parameter.numel() for parameter in made.parameters())
    assert made.declaration.parse(declaration.canonical()).canonical() == declaration.canonical()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(designs())
def test_what_the_declarations_allow_is_sound(design):
    assert_sound_and_counted(design)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(designs())
def test_much_of_what_the_declarations_allow_is_sound(design):
    assert_sound_and_counted(design)
