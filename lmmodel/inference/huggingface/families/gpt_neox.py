"""GPT-NeoX (Black and others, 2022, "GPT-NeoX-20B") and Pythia (Biderman and others, 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule, modules, rows, same

ARCHITECTURE, BASE = "GPTNeoXForCausalLM", "gpt_neox"
DEFAULTS = {
    "head_dim": None,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
    "use_parallel_residual": True,
    "attention_bias": True,
    "rotary_pct": 0.25,
    "rotary_emb_base": 10_000.0,
}
LEFT_OUT = (r"\.attention\.(bias|masked_bias)$",)
"""Masks that older files hold."""
_BLOCKS = {True: {"kind": "parallel", "norms": "separate"}, False: {"kind": "prenorm"}}
_NAMES = {
    "norm": "input_layernorm",
    "attention_norm": "input_layernorm",
    "feed_forward_norm": "post_attention_layernorm",
    "attention.out": "attention.dense",
    "feed_forward.up": "mlp.dense_h_to_4h",
    "feed_forward.out": "mlp.dense_4h_to_h",
}


def declare(config: Config) -> Declaration:
    """Every layer alike."""
    sizes = decoder.sizes(config)
    theta, fraction = config.number("rotary_emb_base"), config.number("rotary_pct")
    activation = config.word("hidden_act", decoder.ACTIVATIONS)
    config.free("classifier_dropout")
    hidden = config.count("intermediate_size")
    layer = {
        "norm": {"kind": "layer", "epsilon": config.number("layer_norm_eps")},
        "position": rope.position(config, context=sizes.context, theta=theta, fraction=fraction),
        "attention": {"kind": "multi_head", "kv_heads": sizes.heads, "bias": config.flag("attention_bias")},
        "feed_forward": {"kind": "plain", "activation": activation, "hidden": hidden, "bias": True},
        "block": _BLOCKS[config.flag("use_parallel_residual")],
    }
    return assemble(config, sizes=sizes, layers=[layer] * sizes.depth, embedding=decoder.embedding(config))


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first."""
    told = {**decoder.described(seen), **decoder.gated_described(seen), **decoder.rope_described(seen, partial=True)}
    told["layer_norm_eps"] = told.pop("rms_norm_eps")
    del told["num_key_value_heads"], told["head_dim"]
    return {
        **told,
        "use_parallel_residual": seen("block", "norms") is not None,
        "attention_bias": seen("attention", "bias"),
    }


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Queries, keys and values stand head by head in one matrix."""
    yield same("embedding.weight", "gpt_neox.embed_in.weight")
    yield same("head.weight", "embed_out.weight")
    yield from modules("", "gpt_neox.", {"norm": "final_layer_norm"})
    for number in range(declaration.depth):
        own, their = f"layers.{number}.", f"gpt_neox.layers.{number}."
        yield from modules(own, their, _NAMES)
        yield from fused(own, f"{their}attention.query_key_value", declaration)


def fused(own: str, theirs: str, declaration: Declaration) -> Iterator[Rule]:
    """Queries, keys and values of a layer whose heads stand one after another, each with its three."""
    for kind in ("weight", "bias"):
        ours = [f"{own}attention.{part}.{kind}" for part in ("query", "key", "value")]
        yield rows(ours, f"{theirs}.{kind}", widths=[declaration.head_width] * 3, groups=declaration.heads)
