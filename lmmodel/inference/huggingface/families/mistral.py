"""Mistral (Jiang and others, 2023, "Mistral 7B"): Llama's parts with a sliding window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule

ARCHITECTURE, BASE = "MistralForCausalLM", "model"
DEFAULTS = {**decoder.DEFAULTS, "num_key_value_heads": 8, "sliding_window": 4096}


def declare(config: Config) -> Declaration:
    """Every layer alike."""
    sizes = decoder.sizes(config)
    window = None if config.take("sliding_window") is None else config.count("sliding_window")
    layer = {
        "norm": decoder.norm(config),
        "position": rope.position(config, context=sizes.context),
        "attention": decoder.attention(config, heads=sizes.heads, window=window),
        "feed_forward": decoder.gated(config),
        "block": "prenorm",
    }
    return assemble(config, sizes=sizes, layers=[layer] * sizes.depth, embedding=decoder.embedding(config))


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first."""
    told = {"sliding_window": seen("attention", "window")}
    return {**decoder.described(seen), **decoder.gated_described(seen), **decoder.rope_described(seen), **told}


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module."""
    return decoder.layers(declaration)
