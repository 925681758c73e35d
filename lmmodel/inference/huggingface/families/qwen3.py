"""Qwen 3 (Yang and others, 2025, "Qwen3 Technical Report"): Llama's parts with normed queries and keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule

ARCHITECTURE, BASE = "Qwen3ForCausalLM", "model"
DEFAULTS = {
    **decoder.DEFAULTS,
    "num_key_value_heads": 32,
    "head_dim": 128,
    "attention_bias": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}


def declare(config: Config) -> Declaration:
    """Layers alike, but that some may see no more than a window."""
    sizes = decoder.sizes(config)
    windows = decoder.windows(config, sizes.depth)
    bias = config.flag("attention_bias")
    layer = {
        "norm": decoder.norm(config),
        "position": rope.position(config, context=sizes.context),
        "attention": decoder.attention(config, heads=sizes.heads, qk_norm="head", bias=bias),
        "feed_forward": decoder.gated(config),
        "block": "prenorm",
    }
    layers = [{**layer, "attention": {**layer["attention"], "window": window}} for window in windows]
    return assemble(config, sizes=sizes, layers=layers, embedding=decoder.embedding(config))


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first that has them."""
    told = {"attention_bias": seen("attention", "bias"), **decoder.windows_described(seen)}
    return {**decoder.described(seen), **decoder.gated_described(seen), **decoder.rope_described(seen), **told}


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module."""
    return decoder.layers(declaration)
