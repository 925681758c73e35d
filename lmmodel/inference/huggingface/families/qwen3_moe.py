"""Qwen 3's mixture of experts (Yang and others, 2025, "Qwen3 Technical Report")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.families.olmoe import EXPERT
from lmmodel.inference.huggingface.rules import Rule

ARCHITECTURE, BASE = "Qwen3MoeForCausalLM", "model"
DEFAULTS = {
    **decoder.DEFAULTS,
    "num_key_value_heads": 4,
    "attention_bias": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "decoder_sparse_step": 1,
    "mlp_only_layers": None,
    "num_experts_per_tok": 8,
    "num_local_experts": 128,
    "norm_topk_prob": False,
    "router_aux_loss_coef": 0.001,
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
    layers = [{**layer, "feed_forward": part} for part in feed_forwards(config, sizes.depth, experts(config))]
    return assemble(config, sizes=sizes, layers=layers, embedding=decoder.embedding(config))


def experts(config: Config) -> dict[str, Any]:
    """The experts of a layer."""
    return {
        **decoder.gated(config, hidden="moe_intermediate_size"),
        **decoder.balance(config),
        "kind": "experts",
        "experts": config.count("num_local_experts"),
        "active": config.count("num_experts_per_tok"),
        "normalize": config.flag("norm_topk_prob"),
    }


def feed_forwards(config: Config, depth: int, experts: dict[str, Any]) -> list[dict[str, Any]]:
    """Each layer's: `experts`, or one dense part."""
    every, dense = config.count("decoder_sparse_step"), config.take("mlp_only_layers") or []
    part = decoder.gated(config)
    return [part if number in dense or (number + 1) % every else experts for number in range(depth)]


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of Qwen 3's experts."""
    window = seen("attention", "window")
    told = {
        "attention_bias": seen("attention", "bias"),
        "use_sliding_window": window is not None,
        "sliding_window": window,
        **experts_described(seen),
    }
    return {**decoder.described(seen), **decoder.rope_described(seen), **told}


def experts_described(seen: Seen) -> dict[str, Any]:
    """What `experts` and `feed_forwards` read."""
    routed = seen.first("feed_forward", "kind", "experts")
    dense = seen.first("feed_forward", "kind", "gated")
    kinds = seen.each("feed_forward", "kind")
    return {
        "intermediate_size": dense.get("hidden", DEFAULTS["intermediate_size"]),
        "hidden_act": decoder.SPELT.get(routed.get("activation", "")),
        "moe_intermediate_size": routed.get("hidden"),
        "decoder_sparse_step": 1,
        "mlp_only_layers": [number for number, kind in enumerate(kinds) if kind != "experts"],
        "num_local_experts": routed.get("experts"),
        "num_experts_per_tok": routed.get("active"),
        "norm_topk_prob": routed.get("normalize"),
        "router_aux_loss_coef": routed.get("balance_weight") or 0.0,
    }


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module, expert by expert."""
    yield from decoder.layers(declaration)
    yield from decoder.experts(declaration, router="mlp.gate", theirs="mlp.experts", names=EXPERT)
