"""BLOOM (BigScience, 2022, "BLOOM: A 176B-Parameter Open-Access Multilingual Language Model")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.sizes import Sizes
from lmmodel.inference.huggingface import decoder
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.families.gpt_neox import fused
from lmmodel.inference.huggingface.rules import Rule, modules, same

ARCHITECTURE, BASE = "BloomForCausalLM", "transformer"
DEFAULTS = {
    "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.02,
    "tie_word_embeddings": True,
    "seq_length": 2048,  # ALiBi knows no last place: what BLOOM was trained on
}
ALIASES = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "n_embed": "hidden_size"}
_FREE = ("slow_but_exact", "skip_bias_add", "skip_bias_add_qkv", "masked_softmax_fusion", "bias_dropout_fusion")
_OLDER = ("attention_softmax_in_fp32", "offset_alibi", "unk_token_id", "n_inner")
"""What transformers does not read, or what cuts the same products up in another way."""
_NAMES = {
    "attention_norm": "input_layernorm",
    "feed_forward_norm": "post_attention_layernorm",
    "attention.out": "self_attention.dense",
    "feed_forward.up": "mlp.dense_h_to_4h",
    "feed_forward.out": "mlp.dense_4h_to_h",
}


def declare(config: Config) -> Declaration:
    """Every layer alike."""
    width, heads = config.count("hidden_size"), config.count("n_head")
    sizes = Sizes(width, config.count("n_layer"), heads, width // heads, config.count("seq_length"))
    config.only("apply_residual_connection_post_layernorm", False)
    config.free(*_FREE, *_OLDER)
    layer = {
        "norm": {"kind": "layer", "epsilon": config.number("layer_norm_epsilon")},
        "position": "alibi",
        "attention": {"kind": "multi_head", "kv_heads": heads, "bias": True},
        "feed_forward": {"kind": "plain", "activation": "gelu_tanh", "hidden": 4 * width, "bias": True},
        "block": "prenorm",
    }
    embedding = decoder.embedding(config, norm=True)
    return assemble(config, sizes=sizes, layers=[layer] * sizes.depth, embedding=embedding)


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first."""
    declared = seen.declaration
    return {
        "vocab_size": declared.vocab_size,
        "hidden_size": declared.width,
        "n_layer": declared.depth,
        "n_head": declared.heads,
        "seq_length": declared.context,
        "layer_norm_epsilon": decoder.epsilon(seen),
        "initializer_range": declared.initial.std,
        "tie_word_embeddings": declared.embedding.tied,
    }


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Queries, keys and values stand head by head in one matrix."""
    yield same("embedding.weight", "transformer.word_embeddings.weight")
    yield same("head.weight", "lm_head.weight")
    yield from modules("", "transformer.", {"embedding_norm": "word_embeddings_layernorm", "norm": "ln_f"})
    for number in range(declaration.depth):
        own, their = f"layers.{number}.", f"transformer.h.{number}."
        yield from modules(own, their, _NAMES)
        yield from fused(own, f"{their}self_attention.query_key_value", declaration)
