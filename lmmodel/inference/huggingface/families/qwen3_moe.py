"""Qwen 3's mixture of experts (Yang and others, 2025, "Qwen3 Technical Report")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, mixture, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule

ARCHITECTURE, BASE = "Qwen3MoeForCausalLM", "model"
DEFAULTS = {
    **decoder.DEFAULTS,
    **mixture.DEFAULTS,
    "num_key_value_heads": 4,
    "attention_bias": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "moe_intermediate_size": 768,
    "num_local_experts": 128,
}
ALIASES = {"num_experts": "num_local_experts"}


def declare(config: Config) -> Declaration:
    """Layers of experts, and dense ones where the file names them."""
    sizes = decoder.sizes(config)
    windowed = config.flag("use_sliding_window") and config.take("sliding_window") is not None
    window = config.count("sliding_window") if windowed else None
    config.free("sliding_window", "max_window_layers")
    layer = {
        "norm": decoder.norm(config),
        "position": rope.position(config, context=sizes.context),
        "attention": decoder.attention(
            config, heads=sizes.heads, qk_norm="head", bias=config.flag("attention_bias"), window=window
        ),
        "block": "prenorm",
    }
    layers = [{**layer, "feed_forward": part} for part in mixture.sparse(config, sizes.depth)]
    return assemble(config, sizes=sizes, layers=layers, embedding=decoder.embedding(config))


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of Qwen 3's experts."""
    window = seen("attention", "window")
    told = {
        "attention_bias": seen("attention", "bias"),
        "use_sliding_window": window is not None,
        "sliding_window": window,
        **mixture.sparse_described(seen, count="num_local_experts"),
    }
    return {**decoder.described(seen), **decoder.rope_described(seen), **told}


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module, expert by expert."""
    yield from decoder.layers(declaration)
    yield from mixture.rules(declaration)
