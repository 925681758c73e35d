"""Random designs of every kind and option, those that go together and those that do not, for hypothesis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

KV_HEADS: tuple[dict[str, Any], ...] = ({}, {"kv_heads": 1}, {"kv_heads": 2}, {"queries_per_kv": 2}, {"kv_heads": 3})
WINDOWS: tuple[dict[str, Any], ...] = ({}, {"window": 2}, {"window": 13}, {"window_fraction": 0.5}, {"window": 1})
HIDDEN: tuple[dict[str, Any], ...] = ({}, {"hidden": 12}, {"expansion": 1.7})
BEND = ("relu", "relu_squared", "gelu", "gelu_tanh", "silu")
SCALARS = {"scalars": ("none", "stream", "stream_and_first")}
YES_OR_NO = (False, True)

Choices = dict[str, tuple[Any, ...]]

NORMS: dict[str, Choices] = {
    "rms": {"weight": ("plain", "zero_centered", "none")},
    "layer": {"bias": YES_OR_NO},
    "dynamic_tanh": {},
    "none": {},
}
POSITIONS: dict[str, Choices] = {
    "none": {},
    "learned": {},
    "sinusoidal": {"theta": (500, 10_000)},
    "rotary": {
        "theta": (500, 10_000),
        "fraction": (1.0, 1.0, 0.5, 0.25),
        "scaling": ("none", "linear", "ntk", "yarn", "llama3"),
    },
    "alibi": {},
    "relative": {"buckets": (8, 8, 7), "furthest": (40,)},
}
ATTENTIONS: dict[str, Choices] = {
    "multi_head": {
        "": KV_HEADS,
        "reach": WINDOWS,
        "qk_norm": ("none", "head", "width"),
        "bias": YES_OR_NO,
        "softcap": (None, 5.0),
        "sinks": YES_OR_NO,
        "output_gate": YES_OR_NO,
        "value_residual": YES_OR_NO,
    },
    "latent": {"": ({}, {"kv_rank": 6}, {"query_rank": 6}, {"rotary_width": 4}, {"rotary_width": 3})},
    "differential": {"": KV_HEADS, "reach": WINDOWS, "bias": YES_OR_NO},
    "linear": {"feature": ("elu", "relu", "softmax"), "bias": YES_OR_NO},
    "gated_delta": {
        "": ({}, {"values_per_key": 2}, {"key_heads": 2}, {"key_width": 3}, {"value_heads": 3}),
        "convolution": (0, 4),
        "decay": YES_OR_NO,
        "output_gate": YES_OR_NO,
    },
    "mamba2": {"state_width": (4, 8), "groups": (1, 2, 3), "convolution": (1, 4)},
    "none": {},
}
FEED_FORWARDS: dict[str, Choices] = {
    "plain": {"": HIDDEN, "activation": BEND, "bias": YES_OR_NO},
    "gated": {"": HIDDEN, "activation": BEND, "bias": YES_OR_NO},
    "experts": {
        "": HIDDEN,
        "experts": (4,),
        "active": (2, 2, 1, 5),
        "shared": (0, 1),
        "gated": YES_OR_NO,
        "shared_gate": YES_OR_NO,
        "score": ("softmax", "sigmoid"),
        "normalize": YES_OR_NO,
        "groups": (1, {"groups": 2, "active_groups": 1}),
        "balance": ("auxiliary", "bias", "none"),
    },
    "none": {},
}
BLOCKS: dict[str, Choices] = {
    "prenorm": SCALARS,
    "postnorm": {},
    "sandwich": SCALARS,
    "parallel": {**SCALARS, "norms": ("shared", "separate")},
    "reordered": SCALARS,
}
KINDS = {
    "norm": NORMS,
    "position": POSITIONS,
    "attention": ATTENTIONS,
    "feed_forward": FEED_FORWARDS,
    "block": BLOCKS,
}
"""Every kind of every family; of each option some values. What stands under "" and "reach" are options that go
together, drawn as one; some of them are refused."""


@st.composite
def parts(draw: st.DrawFn, family: str) -> dict[str, Any]:
    """A kind, and about half of its options."""
    kind = draw(st.sampled_from(list(KINDS[family])))
    told: dict[str, Any] = {"kind": kind}
    for name, values in KINDS[family][kind].items():
        if draw(st.booleans()):
            value = draw(st.sampled_from(values))
            told |= value if isinstance(value, dict) else {} if value is None else {name: value}
    return told


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    """What one layer changes; its position, too, may be its own."""
    told = {family: draw(parts(family)) for family in ("attention", "feed_forward", "block")}
    return told | ({"position": draw(parts("position"))} if draw(st.booleans()) else {})


@st.composite
def designs(draw: st.DrawFn) -> dict[str, Any]:
    """A design of one to three layers, each its own."""
    names = ("a", "b", "c")[: draw(st.integers(1, 3))]
    head = {"ahead": draw(st.integers(0, 2))} | ({"softcap": 30} if draw(st.booleans()) else {})
    embedding = {
        "tied": draw(st.booleans()),
        "norm": draw(st.booleans()),
        "scale": draw(st.sampled_from(("none", "sqrt_width"))),
        "ngrams": draw(st.lists(st.integers(1, 90), max_size=3)),
    }
    return {
        "norm": draw(parts("norm")),
        "position": draw(parts("position")),
        "layers": {name: draw(layers()) for name in names},
        "pattern": list(names),
        "embedding": embedding,
        "head": head,
        "initial": {"outputs": draw(st.sampled_from(("plain", "zero", "depth_scaled")))},
    }


def written(design: dict[str, Any]) -> str:
    """As it would stand in a parameter file: JSON is YAML."""
    return json.dumps(design)
