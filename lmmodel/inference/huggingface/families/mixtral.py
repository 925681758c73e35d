"""Mixtral (Jiang and others, 2024, "Mixtral of Experts"): Mistral's parts, and a few large experts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, mixture, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule

ARCHITECTURE, BASE = "MixtralForCausalLM", "model"
DEFAULTS = {
    **decoder.DEFAULTS,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "sliding_window": None,
    "num_experts_per_tok": 2,
    "num_local_experts": 8,
    "router_aux_loss_coef": 0.001,
}
ALIASES = {"num_experts": "num_local_experts"}
_EXPERT = {"gate_EFD": "w1", "up_EFD": "w3", "out_EDF": "w2"}


def declare(config: Config) -> Declaration:
    """Every layer alike."""
    sizes = decoder.sizes(config)
    window = None if config.take("sliding_window") is None else config.count("sliding_window")
    config.free("router_jitter_noise")  # of training
    layer = {
        "norm": decoder.norm(config),
        "position": rope.position(config, context=sizes.context, theta=1e6),
        "attention": decoder.attention(config, heads=sizes.heads, window=window),
        "feed_forward": mixture.experts(config, count="num_local_experts"),
        "block": "prenorm",
    }
    return assemble(config, sizes=sizes, layers=[layer] * sizes.depth, embedding=decoder.embedding(config))


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first."""
    told = {"sliding_window": seen("attention", "window"), **mixture.described(seen, count="num_local_experts")}
    return {**decoder.described(seen), **decoder.gated_described(seen), **decoder.rope_described(seen), **told}


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module, expert by expert."""
    yield from decoder.layers(declaration, {**decoder.ATTENTION, **decoder.NORMS})
    yield from mixture.rules(declaration, place="block_sparse_moe", names=_EXPERT)
