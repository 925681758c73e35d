"""Qwen3-Next (Qwen, 2025): gated delta in three layers of four, gated attention in the fourth, experts in all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, mixture, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule, channels, modules, rows, same
from lmmodel.params.settings import Settings

ARCHITECTURE, BASE = "Qwen3NextForCausalLM", "model"
DEFAULTS = {
    **decoder.DEFAULTS,
    **mixture.DEFAULTS,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "attention_bias": False,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "intermediate_size": 5632,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "num_experts_per_tok": 10,
    "num_local_experts": 512,
    "norm_topk_prob": True,
    "full_attention_interval": 4,
}
ALIASES = {"num_experts": "num_local_experts"}
LEFT_OUT = (r"^mtp\.",)
"""Its heads for further tokens."""
_LINEAR, _FULL = "linear_attention", "full_attention"
_FUSED = ("attention.query", "attention.gate")
_SHARED = {"up": "up_proj", "gate": "gate_proj", "out": "down_proj"}
_DELTA = {
    "query": ("key_heads", "key_width"),
    "key": ("key_heads", "key_width"),
    "value": ("value_heads", "value_width"),
    "gate": ("value_heads", "value_width"),
}


def declare(config: Config) -> Declaration:
    """Layers of two kinds in their order."""
    sizes = decoder.sizes(config)
    every = config.count("full_attention_interval")
    types = [_LINEAR if number % every else _FULL for number in range(1, sizes.depth + 1)]
    types = decoder.layer_types(config, sizes.depth, otherwise=types)
    mixers = {_LINEAR: _delta(config), _FULL: _softmax(config, sizes.heads)}
    for kind in types:
        if kind not in mixers:
            raise config.refuse("layer_types", f"names {kind!r}; there are {_LINEAR} and {_FULL}")
    layer = {
        "norm": decoder.norm(config, weight="zero_centered"),
        "position": rope.position(config, context=sizes.context, fraction=0.25),
        "block": "prenorm",
    }
    config.only("shared_expert_intermediate_size", config.count("moe_intermediate_size"))
    parts = mixture.sparse(config, sizes.depth, shared=1, shared_gate=True)
    layers = [
        {**layer, "attention": mixers[kind], "feed_forward": part} for kind, part in zip(types, parts, strict=True)
    ]
    return assemble(config, sizes=sizes, layers=layers, embedding=decoder.embedding(config))


def _softmax(config: Config, heads: int) -> dict[str, Any]:
    bias = config.flag("attention_bias")
    return decoder.attention(config, heads=heads, qk_norm="head", output_gate=True, bias=bias)


def _delta(config: Config) -> dict[str, Any]:
    config.only("hidden_act", "silu")  # which bends what the short convolution gives, too
    return {
        "kind": "gated_delta",
        "key_heads": config.count("linear_num_key_heads"),
        "value_heads": config.count("linear_num_value_heads"),
        "key_width": config.count("linear_key_head_dim"),
        "value_width": config.count("linear_value_head_dim"),
        "convolution": config.count("linear_conv_kernel_dim"),
        "epsilon": config.number("rms_norm_eps"),
    }


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of Qwen3-Next."""
    delta, full = (seen.first("attention", "kind", kind) for kind in ("gated_delta", "multi_head"))
    told = {
        "num_key_value_heads": full.get("kv_heads", seen.declaration.heads),
        "attention_bias": full.get("bias", False),
        "layer_types": [_FULL if kind == "multi_head" else _LINEAR for kind in seen.each("attention", "kind")],
        "linear_num_key_heads": delta.get("key_heads"),
        "linear_num_value_heads": delta.get("value_heads"),
        "linear_key_head_dim": delta.get("key_width"),
        "linear_value_head_dim": delta.get("value_width"),
        "linear_conv_kernel_dim": delta.get("convolution"),
        "shared_expert_intermediate_size": seen.first("feed_forward", "kind", "experts").get("hidden"),
    }
    routed = mixture.sparse_described(seen, count="num_experts")
    return {**decoder.described(seen), **decoder.rope_described(seen, partial=True), **routed, **told}


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Queries, keys, values and gates stand in one matrix, key head by key head."""
    yield from decoder.layers(declaration, {**decoder.FEED_FORWARD, **decoder.NORMS})
    yield from mixture.rules(declaration)
    for number, layer in enumerate(declaration.layers):
        own, their = f"layers.{number}.", f"model.layers.{number}."
        shared = {f"feed_forward.shared.{part}": f"mlp.shared_expert.{name}" for part, name in _SHARED.items()}
        yield from modules(own, their, {**shared, "feed_forward.shared.weigh": "mlp.shared_expert_gate"})
        if layer.attention.kind == "gated_delta":
            yield from _delta_rules(f"{own}attention.", f"{their}linear_attn.", layer.attention.options)
        else:
            yield from modules(
                own, their, {part: name for part, name in decoder.ATTENTION.items() if part not in _FUSED}
            )
            ours = [f"{own}{part}" for part in _FUSED]
            widths = [declaration.head_width] * 2
            for kind in ("weight", "bias"):
                parts = [f"{name}.{kind}" for name in ours]
                yield rows(parts, f"{their}self_attn.q_proj.{kind}", widths=widths, groups=declaration.heads)


def _delta_rules(own: str, their: str, told: Settings) -> Iterator[Rule]:
    sizes = told.dump()
    groups = sizes["key_heads"]
    widths = [sizes[heads] // groups * sizes[width] for heads, width in _DELTA.values()]
    ours = [f"{own}{name}.weight" for name in _DELTA]
    yield rows(ours, f"{their}in_proj_qkvz.weight", widths=widths, groups=groups)
    ours = [f"{own}{name}.weight" for name in ("learn", "step")]
    yield rows(ours, f"{their}in_proj_ba.weight", widths=[sizes["value_heads"] // groups] * 2, groups=groups)
    yield channels(f"{own}convolution.weight", f"{their}conv1d.weight")
    yield same(f"{own}log_rate_H", f"{their}A_log")
    yield same(f"{own}step_bias_H", f"{their}dt_bias")
    yield from modules(own, their, {"out_norm": "norm", "out": "out_proj"})
