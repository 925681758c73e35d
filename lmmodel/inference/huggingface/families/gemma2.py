"""Gemma 2 (Google, 2024, "Gemma 2: Improving Open Language Models at a Practical Size")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration, Embedding, Head
from lmmodel.architecture.sizes import Sizes
from lmmodel.inference.huggingface import decoder, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule

ARCHITECTURE, BASE = "Gemma2ForCausalLM", "model"
DEFAULTS = {
    **{key: value for key, value in decoder.DEFAULTS.items() if key != "hidden_act"},
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "attention_bias": False,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "final_logit_softcapping": 30.0,
    "attn_logit_softcapping": 50.0,
    "tie_word_embeddings": True,
}
LOCAL, GLOBAL = "sliding_attention", "full_attention"
NAMES = {
    **decoder.LAYER,
    "attention_out_norm": "post_attention_layernorm",
    "feed_forward_norm": "pre_feedforward_layernorm",
    "feed_forward_out_norm": "post_feedforward_layernorm",
}


def declare(config: Config) -> Declaration:
    """Layers with a window and without, in their order."""
    sizes = decoder.sizes(config)
    types = decoder.layer_types(config, sizes.depth, otherwise=[(LOCAL, GLOBAL)[n % 2] for n in range(sizes.depth)])
    position = rope.position(config, context=sizes.context)
    return declared(config, sizes, types, {LOCAL: position, GLOBAL: position})


def declared(
    config: Config, sizes: Sizes, types: list[str], positions: dict[str, Any], **attention: Any
) -> Declaration:
    """The declaration of Gemma's layers; `attention`: options of one generation alone."""
    config.only("use_bidirectional_attention", None, False)
    config.free("hidden_act")  # an older name of hidden_activation, which transformers does not read
    attention |= {"bias": config.flag("attention_bias"), "scale": _scale(config, sizes.head_width)}
    attention |= {"softcap": config.number_or_none("attn_logit_softcapping")}
    windows = {LOCAL: config.count("sliding_window") if LOCAL in types else None, GLOBAL: None}
    config.free("sliding_window")
    layer = {
        "norm": decoder.norm(config, weight="zero_centered"),
        "feed_forward": decoder.gated(config, act="hidden_activation"),
        "block": "sandwich",
    }
    mixed = decoder.attention(config, heads=sizes.heads, **attention)
    for kind in types:
        if kind not in windows:
            raise config.refuse("layer_types", f"names {kind!r}; there are {LOCAL} and {GLOBAL}")
    layers = [{**layer, "position": positions[t], "attention": {**mixed, "window": windows[t]}} for t in types]
    embedding = Embedding(tied=config.flag("tie_word_embeddings"), scale="sqrt_width")
    head = Head(softcap=config.number_or_none("final_logit_softcapping"))
    return assemble(config, sizes=sizes, layers=layers, embedding=embedding, head=head)


def _scale(config: Config, head_width: int) -> float | None:
    """1 / sqrt(query_pre_attn_scalar); None where that is what attention does by itself."""
    scalar = config.positive("query_pre_attn_scalar")
    return None if scalar == head_width else scalar**-0.5


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of Gemma 2."""
    return {**described(seen), **decoder.rope_described(seen)}


def described(seen: Seen) -> dict[str, Any]:
    """What `declared` reads."""
    windows = seen.each("attention", "window")
    scale = seen("attention", "scale")
    told = {**decoder.described(seen), **decoder.gated_described(seen)}
    told["hidden_activation"] = told.pop("hidden_act")
    return {
        **told,
        "attention_bias": seen("attention", "bias"),
        "query_pre_attn_scalar": seen.declaration.head_width if scale is None else _scalar(scale),
        "sliding_window": next((width for width in windows if width), seen.declaration.context),
        "layer_types": [LOCAL if width else GLOBAL for width in windows],
        "final_logit_softcapping": seen.declaration.head.softcap,
        "attn_logit_softcapping": seen("attention", "softcap"),
    }


def _scalar(scale: float) -> float:
    """The number whose -0.5th power is `scale`: a whole one where one is."""
    whole = round(scale**-2)
    return whole if whole**-0.5 == scale else scale**-2


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module."""
    return decoder.layers(declaration, NAMES)
