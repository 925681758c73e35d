"""GPT-2 (Radford and others, 2019, "Language Models are Unsupervised Multitask Learners").

Its matrices stand as [in, out], queries, keys and values in one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.sizes import Sizes
from lmmodel.inference.huggingface import decoder
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule, modules, rows, same

ARCHITECTURE, BASE = "GPT2LMHeadModel", "transformer"
DEFAULTS = {
    "n_inner": None,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "initializer_range": 0.02,
    "tie_word_embeddings": True,
}
ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
LEFT_OUT = (r"\.attn\.bias$", r"\.attn\.masked_bias$")
"""Masks that older files hold."""
_FREE = ("n_ctx", "resid_pdrop", "embd_pdrop", "attn_pdrop", "reorder_and_upcast_attn")
_SUMMARY = ("type", "use_proj", "activation", "proj_to_labels", "first_dropout")
_SPELT = {**decoder.SPELT, "gelu_tanh": "gelu_new"}


def declare(config: Config) -> Declaration:
    """Every layer alike."""
    width, heads = config.count("n_embd"), config.count("n_head")
    sizes = Sizes(width, config.count("n_layer"), heads, width // heads, config.count("n_positions"))
    config.only("scale_attn_weights", True)
    config.only("scale_attn_by_inverse_layer_idx", False)
    config.free(*_FREE, *(f"summary_{name}" for name in _SUMMARY))  # of training, precision, and another head
    activation = config.word("activation_function", decoder.ACTIVATIONS)
    hidden = config.count_or("n_inner", 4 * width)
    layer = {
        "norm": {"kind": "layer", "epsilon": config.number("layer_norm_epsilon")},
        "position": "learned",
        "attention": {"kind": "multi_head", "kv_heads": heads, "bias": True},
        "feed_forward": {"kind": "plain", "activation": activation, "hidden": hidden, "bias": True},
        "block": "prenorm",
    }
    return assemble(config, sizes=sizes, layers=[layer] * sizes.depth, embedding=decoder.embedding(config))


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first."""
    declared = seen.declaration
    return {
        "vocab_size": declared.vocab_size,
        "n_positions": declared.context,
        "n_embd": declared.width,
        "n_layer": declared.depth,
        "n_head": declared.heads,
        "n_inner": seen("feed_forward", "hidden"),
        "activation_function": _SPELT.get(seen("feed_forward", "activation")),
        "layer_norm_epsilon": decoder.epsilon(seen),
        "initializer_range": declared.initial.std,
        "tie_word_embeddings": declared.embedding.tied,
    }


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Matrices turned, queries, keys and values apart."""
    yield same("embedding.weight", "transformer.wte.weight")
    yield same("position.table.weight", "transformer.wpe.weight")
    yield same("head.weight", "lm_head.weight")
    yield from modules("", "transformer.", {"norm": "ln_f"})
    width = declaration.width
    for number, layer in enumerate(declaration.layers):
        own, their = f"layers.{number}.", f"transformer.h.{number}."
        yield from modules(own, their, {"attention_norm": "ln_1", "feed_forward_norm": "ln_2"})
        hidden = getattr(layer.feed_forward.options, "hidden", None) or width
        apart: dict[str, tuple[str, ...]] = {"attn.c_attn": ("attention.query", "attention.key", "attention.value")}
        apart |= {
            "attn.c_proj": ("attention.out",),
            "mlp.c_fc": ("feed_forward.up",),
            "mlp.c_proj": ("feed_forward.out",),
        }
        for name, ours in apart.items():
            widths = [hidden if part == "feed_forward.up" else width for part in ours]
            for kind in ("weight", "bias"):
                parts = [f"{own}{part}.{kind}" for part in ours]
                yield rows(parts, f"{their}{name}.{kind}", widths=widths, transposed=True)
