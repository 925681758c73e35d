"""Llama 2 and 3, and all that took their form (Touvron and others, 2023; Grattafiori and others, 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule

ARCHITECTURE, BASE = "LlamaForCausalLM", "model"
DEFAULTS = {**decoder.DEFAULTS, "attention_bias": False, "mlp_bias": False}


def declare(config: Config) -> Declaration:
    """Every layer alike."""
    sizes = decoder.sizes(config)
    layer = {
        "norm": decoder.norm(config),
        "position": rope.position(config, context=sizes.context),
        "attention": decoder.attention(config, heads=sizes.heads, bias=config.flag("attention_bias")),
        "feed_forward": decoder.gated(config, bias=config.flag("mlp_bias")),
        "block": "prenorm",
    }
    return assemble(config, sizes=sizes, layers=[layer] * sizes.depth, embedding=decoder.embedding(config))


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first."""
    told = {"attention_bias": seen("attention", "bias"), "mlp_bias": seen("feed_forward", "bias")}
    return {**decoder.described(seen), **decoder.gated_described(seen), **decoder.rope_described(seen), **told}


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module."""
    return decoder.layers(declaration)
