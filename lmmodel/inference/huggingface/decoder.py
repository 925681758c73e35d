"""What the config.jsons of most decoders since Llama have in common, both ways, and the names of their tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmmodel.architecture.declaration import Declaration, Embedding
from lmmodel.architecture.sizes import Sizes
from lmmodel.inference.huggingface import rope
from lmmodel.inference.huggingface.assembly import Seen
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule, modules, same

ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu_squared",
}
"""By transformers' name."""
SPELT = {"silu": "silu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "relu": "relu", "relu_squared": "relu2"}

DEFAULTS: dict[str, Any] = {
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
"""Of most of them, for what a config.json leaves out; sizes it has to tell."""

_SLIDING, _FULL = "sliding_attention", "full_attention"

ATTENTION = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
}
FEED_FORWARD = {
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.out": "mlp.down_proj",
}
NORMS = {"attention_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}
LAYER = {**ATTENTION, **FEED_FORWARD, **NORMS}
"""Our modules of a layer by theirs."""


def sizes(config: Config) -> Sizes:
    """The sizes that a config.json tells."""
    width, heads = config.count("hidden_size"), config.count("num_attention_heads")
    return Sizes(
        width=width,
        depth=config.count("num_hidden_layers"),
        heads=heads,
        head_width=config.count_or("head_dim", width // heads),
        context=config.count("max_position_embeddings"),
    )


def norm(config: Config, key: str = "rms_norm_eps", **options: Any) -> dict[str, Any]:
    """RMSNorm; `options` beside epsilon."""
    return {"kind": "rms", "epsilon": config.number(key), **options}


def attention(config: Config, *, heads: int, **options: Any) -> dict[str, Any]:
    """Softmax attention with the key-value heads that are told."""
    return {"kind": "multi_head", "kv_heads": config.count_or("num_key_value_heads", heads), **options}


def gated(config: Config, *, hidden: str = "intermediate_size", act: str = "hidden_act", **options: Any) -> Any:
    """A gated feed-forward part."""
    activation = config.word(act, ACTIVATIONS)
    return {"kind": "gated", "activation": activation, "hidden": config.count(hidden), **options}


def embedding(config: Config, **options: Any) -> Embedding:
    """The table, tied or not."""
    return Embedding(tied=config.flag("tie_word_embeddings"), **options)


def layer_types(config: Config, depth: int, *, otherwise: list[str]) -> list[str]:
    """`layer_types`, one a layer; `otherwise` where the file has none. Their words are for the caller to check."""
    config.defaults |= {"layer_types": None}
    types = config.take("layer_types") or otherwise
    if not isinstance(types, list) or len(types) != depth:
        raise config.refuse("layer_types", f"should name a kind for each of {depth} layers")
    return types


def windows(config: Config, depth: int) -> list[int | None]:
    """The window of each layer, None where it sees all: as Qwen tells it, from which layer on or layer by layer."""
    config.free("max_window_layers")  # without effect where no window is in use
    window = config.take("sliding_window")
    if not config.flag("use_sliding_window") or window is None:
        types = layer_types(config, depth, otherwise=[_FULL] * depth)
        if _SLIDING in types:
            raise config.refuse("layer_types", f"names {_SLIDING}, and no window is in use")
        return [None] * depth
    window, first = config.count("sliding_window"), config.natural("max_window_layers")
    otherwise = [_SLIDING if number >= first else _FULL for number in range(depth)]
    return [window if kind == _SLIDING else None for kind in layer_types(config, depth, otherwise=otherwise)]


def described(seen: Seen) -> dict[str, Any]:
    """What `sizes`, `norm`, `attention` and `embedding` read, and the rotary position."""
    declared = seen.declaration
    return {
        "vocab_size": declared.vocab_size,
        "hidden_size": declared.width,
        "num_hidden_layers": declared.depth,
        "num_attention_heads": declared.heads,
        "num_key_value_heads": seen("attention", "kv_heads"),
        "head_dim": declared.head_width,
        "max_position_embeddings": declared.context,
        "rms_norm_eps": epsilon(seen),
        "initializer_range": declared.initial.std,
        "tie_word_embeddings": declared.embedding.tied,
    }


def windows_described(seen: Seen) -> dict[str, Any]:
    """What `windows` reads."""
    widths = seen.each("attention", "window")
    window = next((width for width in widths if width), None)
    return {
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "max_window_layers": len(widths),
        "layer_types": [_SLIDING if width else _FULL for width in widths],
    }


def epsilon(seen: Seen) -> float:
    """The norm's; some number where it has none, and so is another norm."""
    return seen("norm", "epsilon") or DEFAULTS["rms_norm_eps"]


def gated_described(seen: Seen) -> dict[str, Any]:
    """What `gated` reads."""
    return {
        "intermediate_size": seen("feed_forward", "hidden") or seen.declaration.width,
        "hidden_act": SPELT.get(seen("feed_forward", "activation")),
    }


def rope_described(seen: Seen, *, partial: bool = False) -> dict[str, Any]:
    """The position of the first layer that turns."""
    return {"rope_parameters": rope.parameters(seen.first("position", "kind", "rotary"), partial=partial)}


def layers(declaration: Declaration, names: Mapping[str, str] = LAYER) -> Iterator[Rule]:
    """The rules of a model whose layers' modules correspond by `names`."""
    yield from ends()
    for number in range(declaration.depth):
        yield from modules(f"layers.{number}.", f"model.layers.{number}.", names)


def ends() -> Iterator[Rule]:
    """Embedding, last norm and head."""
    yield same("embedding.weight", "model.embed_tokens.weight")
    yield same("norm.weight", "model.norm.weight")
    yield same("head.weight", "lm_head.weight")
