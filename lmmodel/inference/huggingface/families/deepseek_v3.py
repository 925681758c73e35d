"""DeepSeek V3 (DeepSeek-AI, 2024, "DeepSeek-V3 Technical Report").

Its rotation pairs neighbours; ours the first half with the second, so the rows that turn are put in another order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.sizes import Sizes
from lmmodel.inference.huggingface import decoder, mixture, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule, modules, rows, same

ARCHITECTURE, BASE = "DeepseekV3ForCausalLM", "model"
DEFAULTS = {
    **decoder.DEFAULTS,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "first_k_dense_replace": 3,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
}
ALIASES = {"num_local_experts": "n_routed_experts", "num_mtp_layers": "num_nextn_predict_layers"}
LEFT_OUT = (r"^model\.layers\.61\.",)
"""Its head for further tokens, which transformers leaves out by this name."""
_FREE = ("num_nextn_predict_layers", "qk_head_dim", "head_dim", "ep_size", "aux_loss_alpha", "seq_aux")
_NAMES = {
    **{own: name for own, name in decoder.LAYER.items() if not own.startswith("attention.")},
    "attention.query_compress": "self_attn.q_a_proj",
    "attention.query_norm": "self_attn.q_a_layernorm",
    "attention.compress_norm": "self_attn.kv_a_layernorm",
    "attention.out": "self_attn.o_proj",
    "feed_forward.shared.up": "mlp.shared_experts.up_proj",
    "feed_forward.shared.gate": "mlp.shared_experts.gate_proj",
    "feed_forward.shared.out": "mlp.shared_experts.down_proj",
}


def declare(config: Config) -> Declaration:
    """Dense layers first, then layers of experts."""
    sizes = replace(decoder.sizes(config), head_width=config.count("qk_nope_head_dim"))
    config.only("v_head_dim", sizes.head_width)
    config.only("num_key_value_heads", sizes.heads, None)
    config.only("attention_bias", False)
    config.only("rms_norm_eps", 1e-6)  # transformers gives the norms inside its attention this one, whatever is told
    config.only("topk_method", "noaux_tc")
    config.only("scoring_func", "sigmoid")
    config.only("moe_layer_freq", 1)
    config.free(*_FREE)
    dense = config.natural("first_k_dense_replace")
    layer = {
        "norm": decoder.norm(config),
        "position": rope.position(config, context=sizes.context),
        "attention": _latent(config, sizes),
        "block": "prenorm",
    }
    parts = [decoder.gated(config) if number < dense else _experts(config) for number in range(sizes.depth)]
    layers = [{**layer, "feed_forward": part} for part in parts]
    return assemble(config, sizes=sizes, layers=layers, embedding=decoder.embedding(config))


def _latent(config: Config, sizes: Sizes) -> dict[str, Any]:
    config.only("rope_interleave", True)
    turned = config.count("qk_rope_head_dim")
    told = config.data.get("rope_scaling") or config.data.get("rope_parameters") or {}
    share, factor = told.get("mscale_all_dim", 0), told.get("factor") or 1.0
    scale = None
    if told.get("rope_type", told.get("type", "default")) != "default" and share:
        scale = (sizes.head_width + turned) ** -0.5 * rope.stretch(factor, share) ** 2
    return {
        "kind": "latent",
        "kv_rank": config.count("kv_lora_rank"),
        "query_rank": None if config.take("q_lora_rank") is None else config.count("q_lora_rank"),
        "rotary_width": turned,
        "scale": scale,
    }


def _experts(config: Config) -> dict[str, Any]:
    return {
        **decoder.gated(config, hidden="moe_intermediate_size"),
        "kind": "experts",
        "experts": config.count("n_routed_experts"),
        "active": config.count("num_experts_per_tok"),
        "shared": config.count("n_shared_experts"),
        "groups": config.count("n_group"),
        "active_groups": config.count("topk_group"),
        "normalize": config.flag("norm_topk_prob"),
        "router_scale": config.number("routed_scaling_factor"),
        "score": "sigmoid",
        "balance": "bias",
    }


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of DeepSeek V3."""
    routed = seen.first("feed_forward", "kind", "experts")
    kinds = seen.each("feed_forward", "kind")
    told = {**decoder.described(seen), **decoder.rope_described(seen)}
    del told["head_dim"]
    if (scale := seen("attention", "scale")) is not None:
        told["rope_parameters"]["mscale_all_dim"] = _share(scale, seen)
    return {
        **told,
        "num_key_value_heads": seen.declaration.heads,
        "hidden_act": decoder.SPELT.get(seen("feed_forward", "activation")),
        "q_lora_rank": seen("attention", "query_rank"),
        "kv_lora_rank": seen("attention", "kv_rank"),
        "qk_nope_head_dim": seen.declaration.head_width,
        "qk_rope_head_dim": seen("attention", "rotary_width"),
        "v_head_dim": seen.declaration.head_width,
        "intermediate_size": seen("feed_forward", "hidden", kind="gated") or DEFAULTS["intermediate_size"],
        "moe_intermediate_size": routed.get("hidden"),
        "first_k_dense_replace": kinds.index("experts") if "experts" in kinds else len(kinds),
        "n_routed_experts": routed.get("experts"),
        "n_shared_experts": routed.get("shared"),
        "num_experts_per_tok": routed.get("active"),
        "n_group": routed.get("groups"),
        "topk_group": routed.get("active_groups"),
        "norm_topk_prob": routed.get("normalize"),
        "routed_scaling_factor": routed.get("router_scale"),
    }


def _share(scale: float, seen: Seen) -> float:
    """What `_latent` takes for `mscale_all_dim` to give this scale; 0 where nothing does."""
    plain = (seen.declaration.head_width + (seen("attention", "rotary_width") or 0)) ** -0.5
    octaves = 0.1 * math.log(seen("position", "factor") or 1.0)
    return round(((scale / plain) ** 0.5 - 1) / octaves, 6) if octaves else 0


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Matrices cut apart, rows that turn in our order, experts one by one."""
    yield from decoder.ends()
    yield from mixture.rules(declaration)
    for number, layer in enumerate(declaration.layers):
        own, their = f"layers.{number}.", f"model.layers.{number}."
        yield from modules(own, their, _NAMES)
        yield same(f"{own}feed_forward.bias_E", f"{their}mlp.gate.e_score_correction_bias")
        sizes = layer.attention.options.dump()
        if layer.attention.kind == "latent":
            yield from _latent_rules(f"{own}attention.", f"{their}self_attn.", sizes, declaration)


def _latent_rules(own: str, their: str, told: dict[str, Any], declaration: Declaration) -> Iterator[Rule]:
    heads, width, turned, rank = declaration.heads, declaration.head_width, told["rotary_width"], told["kv_rank"]
    pairs = [*range(0, turned, 2), *range(1, turned, 2)]
    each = [*range(width), *(width + place for place in pairs)]
    order = [head * (width + turned) + place for head in range(heads) for place in each]
    query = "q_b_proj" if told["query_rank"] else "q_proj"
    yield rows([f"{own}query.weight"], f"{their}{query}.weight", widths=[len(order)], order=order)
    ours = [f"{own}compress.weight", f"{own}rotary_key.weight"]
    order = [*range(rank), *(rank + place for place in pairs)]
    yield rows(ours, f"{their}kv_a_proj_with_mqa.weight", widths=[rank, turned], order=order)
    ours = [f"{own}key.weight", f"{own}value.weight"]
    yield rows(ours, f"{their}kv_b_proj.weight", widths=[width, width], groups=heads)
