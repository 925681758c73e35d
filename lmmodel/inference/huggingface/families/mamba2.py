"""Mamba 2 (Dao and Gu, 2024, "Transformers are SSMs"): state spaces alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.sizes import Sizes
from lmmodel.inference.huggingface import decoder
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule, channels, modules, rows, same

ARCHITECTURE, BASE = "Mamba2ForCausalLM", "backbone"
DEFAULTS = {
    "num_heads": 128,
    "head_dim": 64,
    "state_size": 128,
    "expand": 2,
    "conv_kernel": 4,
    "n_groups": 8,
    "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.1,
    "tie_word_embeddings": False,
    "max_position_embeddings": 2048,  # it knows no places: what Mamba 2 was trained on
}
_TRAINING = ("time_step_rank", "time_step_min", "time_step_max", "time_step_floor", "rescale_prenorm_residual")
_FREE = ("chunk_size", "residual_in_fp32", "rms_norm", "norm_before_gate", "intermediate_size", *_TRAINING)
_PARTS = ("gate", "value", "key", "query", "step")


def declare(config: Config) -> Declaration:
    """Every layer alike. The model's own heads are no more than a name for their width."""
    width, head_width = config.count("hidden_size"), config.count("head_dim")
    heads = max(1, width // head_width)
    depth, context = config.count("num_hidden_layers"), config.count("max_position_embeddings")
    sizes = Sizes(width, depth, heads, head_width, context)
    config.only("hidden_act", "silu", "swish")
    config.only("use_bias", False)
    config.only("n_groups", 1)  # with more, transformers norms the output group by group
    config.only("use_conv_bias", True)
    config.only("time_step_limit", [0.0, math.inf])
    config.free(*_FREE)
    epsilon = config.number("layer_norm_epsilon")
    inner = config.count("num_heads") * head_width
    mixer = {
        "kind": "mamba2",
        "state_width": config.count("state_size"),
        "expansion": config.number("expand"),
        "heads": config.count("num_heads"),
        "convolution": config.count("conv_kernel"),
        "epsilon": epsilon,
    }
    config.only("expand", inner / width)
    layer = {
        "norm": {"kind": "rms", "epsilon": epsilon},
        "position": "none",
        "attention": mixer,
        "feed_forward": "none",
        "block": "prenorm",
    }
    return assemble(config, sizes=sizes, layers=[layer] * depth, embedding=decoder.embedding(config))


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first."""
    declared, heads, expansion = seen.declaration, seen("attention", "heads"), seen("attention", "expansion") or 0
    inner = expansion * declared.width
    return {
        "vocab_size": declared.vocab_size,
        "hidden_size": declared.width,
        "num_hidden_layers": declared.depth,
        "max_position_embeddings": declared.context,
        "num_heads": heads,
        "head_dim": int(inner // heads) if heads else None,
        "expand": int(expansion) if expansion == int(expansion) else expansion,
        "state_size": seen("attention", "state_width"),
        "n_groups": seen("attention", "groups"),
        "conv_kernel": seen("attention", "convolution"),
        "layer_norm_epsilon": decoder.epsilon(seen),
        "initializer_range": declared.initial.std,
        "tie_word_embeddings": declared.embedding.tied,
    }


def rules(declaration: Declaration) -> Iterator[Rule]:
    """All that a layer reads stands in one matrix."""
    yield same("embedding.weight", "backbone.embeddings.weight")
    yield same("norm.weight", "backbone.norm_f.weight")
    yield same("head.weight", "lm_head.weight")
    for number, layer in enumerate(declaration.layers):
        own, their = f"layers.{number}.attention.", f"backbone.layers.{number}.mixer."
        told = layer.attention.options.dump()
        inner = int(told.get("expansion", 0) * declaration.width)
        shared = told.get("groups", 0) * told.get("state_width", 0)
        widths = [inner, inner, shared, shared, told.get("heads", 0)]
        yield same(f"layers.{number}.attention_norm.weight", f"backbone.layers.{number}.norm.weight")
        yield rows([f"{own}{part}.weight" for part in _PARTS], f"{their}in_proj.weight", widths=widths)
        yield channels(f"{own}convolution.weight", f"{their}conv1d.weight")
        yield same(f"{own}convolution.bias", f"{their}conv1d.bias")
        for name, theirs in (("log_rate_H", "A_log"), ("step_bias_H", "dt_bias"), ("skip_H", "D")):
            yield same(f"{own}{name}", f"{their}{theirs}")
        yield from modules(own, their, {"out_norm": "norm", "out": "out_proj"})
