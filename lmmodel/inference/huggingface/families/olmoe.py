"""OLMoE (Muennighoff and others, 2024, "OLMoE: Open Mixture-of-Experts Language Models")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, mixture, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule

ARCHITECTURE, BASE = "OlmoeForCausalLM", "model"
DEFAULTS = {
    **decoder.DEFAULTS,
    "rms_norm_eps": 1e-5,
    "attention_bias": False,
    "num_experts_per_tok": 8,
    "num_experts": 64,
    "norm_topk_prob": False,
    "router_aux_loss_coef": 0.01,
}
ALIASES = {"num_local_experts": "num_experts"}


def declare(config: Config) -> Declaration:
    """Every layer alike."""
    sizes = decoder.sizes(config)
    config.only("clip_qkv", None)
    bias = config.flag("attention_bias")
    layer = {
        "norm": decoder.norm(config),
        "position": rope.position(config, context=sizes.context),
        "attention": decoder.attention(config, heads=sizes.heads, qk_norm="width", bias=bias),
        "feed_forward": mixture.experts(config, count="num_experts", normalize=config.flag("norm_topk_prob")),
        "block": "prenorm",
    }
    return assemble(config, sizes=sizes, layers=[layer] * sizes.depth, embedding=decoder.embedding(config))


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first."""
    told = {
        "attention_bias": seen("attention", "bias"),
        "norm_topk_prob": seen("feed_forward", "normalize"),
        **mixture.described(seen, count="num_experts"),
    }
    return {**decoder.described(seen), **decoder.gated_described(seen), **decoder.rope_described(seen), **told}


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module, expert by expert."""
    yield from decoder.layers(declaration, {**decoder.ATTENTION, **decoder.NORMS})
    yield from mixture.rules(declaration)
