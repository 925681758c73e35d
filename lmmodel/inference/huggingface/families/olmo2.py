"""OLMo 2 (Team OLMo, 2024, "2 OLMo 2 Furious"): norms on what each part gives; queries and keys normed as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule

ARCHITECTURE, BASE = "Olmo2ForCausalLM", "model"
DEFAULTS = {**decoder.DEFAULTS, "rms_norm_eps": 1e-5, "attention_bias": False}
_NORMS = {"attention_norm": "post_attention_layernorm", "feed_forward_norm": "post_feedforward_layernorm"}


def declare(config: Config) -> Declaration:
    """Every layer alike."""
    sizes = decoder.sizes(config)
    bias = config.flag("attention_bias")
    layer = {
        "norm": decoder.norm(config),
        "position": rope.position(config, context=sizes.context),
        "attention": decoder.attention(config, heads=sizes.heads, qk_norm="width", bias=bias),
        "feed_forward": decoder.gated(config),
        "block": "reordered",
    }
    return assemble(config, sizes=sizes, layers=[layer] * sizes.depth, embedding=decoder.embedding(config))


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first."""
    told = {"attention_bias": seen("attention", "bias")}
    return {**decoder.described(seen), **decoder.gated_described(seen), **decoder.rope_described(seen), **told}


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module."""
    return decoder.layers(declaration, {**decoder.LAYER, **_NORMS})
