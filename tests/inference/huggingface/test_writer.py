"""Designs that transformers can express, and those that it cannot: told which part, never nearly right."""

from __future__ import annotations

import pytest

from lmmodel.architecture.resolve import resolve
from lmmodel.inference.huggingface import family as families
from lmmodel.inference.huggingface import writer
from lmmodel.inference.huggingface.family import Family
from lmmodel.params.document import parse
from lmmodel.params.refusal import Refusal
from tests.inference.huggingface.theirs import SMALL, declared

OF = {"llama3": "llama", "gemma3": "gemma3_text"}
"""The model types that are not called like the design."""


def of_parts(design: str):
    text = f"model: {{width: 64, depth: 3, heads: 4, context: 64, design: {design}}}"
    return resolve(parse(text, name="p"), vocab_size=97)


@pytest.mark.parametrize("design", SMALL)
def test_each_design_is_its_own_architecture(design):
    assert writer.fitting(declared(design)).family.model_type == OF.get(design, design)


@pytest.mark.parametrize(
    ("design", "model_type"),
    [
        ("{}", "llama"),
        ("{attention: {kind: multi_head, kv_heads: 2, qk_norm: head}}", "qwen3"),
        ("{attention: {kind: multi_head, window: 8}}", "mistral"),
        ("{like: qwen3, layers: {a: {attention: {window: 8}}, b: {}}, pattern: [a, b]}", "qwen3"),
        ("{like: gpt_neox, block: prenorm}", "gpt_neox"),
        ("{like: llama3, position: {scaling: llama3, factor: 8}}", "llama"),
        ("{like: mixtral, attention: {qk_norm: head}}", "qwen3_moe"),
        ("{like: llama3, initial: {outputs: zero}}", "llama"),
    ],
)
def test_a_design_of_parts_is_what_it_amounts_to(design, model_type):
    assert writer.fitting(of_parts(design)).family.model_type == model_type


@pytest.mark.parametrize(
    ("design", "told"),
    [
        ("transformer2017", "Nearest is gpt2, where layers.0.position.kind is learned, not sinusoidal"),
        (
            "{like: llama3, attention: {sinks: true}}",
            "Nearest is llama, where layers.0.attention.sinks is false, not tr",
        ),
        ("{like: llama3, head: {ahead: 1}}", "Nearest is llama, where head.ahead is 0, not 1"),
        ("{like: llama3, embedding: {ngrams: [64]}}", "Nearest is llama, where embedding.ngrams.0 is absent, not 64"),
        ("{like: llama3, head: {softcap: 20}}", "where head.softcap is absent, not 20.0"),
        ("{like: mistral, layers: {a: {attention: {window: 9}}, b: {}}, pattern: [a, b]}", "layers.1.attention.window"),
        ("{like: llama3, position: {scaling: ntk, factor: 4}}", "Nearest is llama, where layers.0.position.scaling is"),
        ("{like: gpt2, norm: dynamic_tanh}", "Nearest is gpt2, where layers.0.norm"),
        ("{like: llama3, feed_forward: none}", "no transformers architecture known here is this design"),
        ("{attention: linear, position: none}", "no transformers architecture known here is this design"),
    ],
)
def test_a_design_that_none_is_is_refused_with_the_part_that_does_not_fit(design, told):
    with pytest.raises(Refusal) as refused:
        writer.fitting(of_parts(design))
    assert told in str(refused.value)


@pytest.mark.parametrize("model_type", families.known())
def test_no_architecture_stumbles_over_another_design(model_type):
    parts = ("transformer2017", "{attention: linear}", "{attention: none, feed_forward: plain}")
    others = map(of_parts, (*parts, "{like: llama3, attention: {bias: inputs}}"))
    fits = [writer.fit(Family(model_type), declaration) for declaration in (*others, *map(declared, SMALL))]
    assert [found for found in fits if not found.amiss]


def test_code_of_ones_own_is_refused():
    with pytest.raises(Refusal, match="'experiments/fading.py' is code of your own"):
        writer.fitting(of_parts("{attention: experiments/fading.py}"))
