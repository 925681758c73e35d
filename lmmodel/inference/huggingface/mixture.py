"""Experts as config.jsons tell them, both ways, and the names of their tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder
from lmmodel.inference.huggingface.assembly import Seen
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule, same, stack

DEFAULTS: dict[str, Any] = {
    "intermediate_size": 6144,
    "decoder_sparse_step": 1,
    "mlp_only_layers": None,
    "num_experts_per_tok": 8,
    "norm_topk_prob": False,
    "router_aux_loss_coef": 0.001,
}
"""Of those that `sparse` reads, for what a config.json leaves out."""
EXPERT = {"gate_EFD": "gate_proj", "up_EFD": "up_proj", "out_EDF": "down_proj"}
"""The matrices of one expert, in most files."""


def experts(config: Config, *, count: str, hidden: str = "intermediate_size", **options: Any) -> dict[str, Any]:
    """The experts of a layer, of which the setting `count` tells the number and `hidden` the inner width of one."""
    weight = config.number("router_aux_loss_coef")
    balance = {"balance": "auxiliary", "balance_weight": weight} if weight > 0 else {"balance": "none"}
    numbers = {"experts": config.count(count), "active": config.count("num_experts_per_tok")}
    return {**decoder.gated(config, hidden=hidden), **balance, **numbers, **options, "kind": "experts"}


def described(seen: Seen, *, count: str) -> dict[str, Any]:
    """What `experts` reads beside what is read of every feed-forward part."""
    routed = seen.first("feed_forward", "kind", "experts")
    return {
        count: routed.get("experts"),
        "num_experts_per_tok": routed.get("active"),
        "router_aux_loss_coef": routed.get("balance_weight") or 0.0,
    }


def sparse(config: Config, depth: int, **options: Any) -> list[dict[str, Any]]:
    """Each layer's feed-forward part: experts, or one dense part where the file says so."""
    every, dense = config.count("decoder_sparse_step"), config.naturals("mlp_only_layers")
    options |= {"normalize": config.flag("norm_topk_prob")}
    routed = experts(config, count="num_local_experts", hidden="moe_intermediate_size", **options)
    part = decoder.gated(config)
    return [part if number in dense or (number + 1) % every else routed for number in range(depth)]


def sparse_described(seen: Seen, *, count: str) -> dict[str, Any]:
    """What `sparse` reads; the number of experts under the name `count`."""
    routed = seen.first("feed_forward", "kind", "experts")
    dense = seen.first("feed_forward", "kind", "gated")
    kinds = seen.each("feed_forward", "kind")
    return {
        **described(seen, count=count),
        "intermediate_size": dense.get("hidden", DEFAULTS["intermediate_size"]),
        "hidden_act": decoder.SPELT.get(routed.get("activation", "")),
        "moe_intermediate_size": routed.get("hidden"),
        "decoder_sparse_step": 1,
        "mlp_only_layers": [number for number, kind in enumerate(kinds) if kind != "experts"],
        "norm_topk_prob": routed.get("normalize"),
    }


def rules(declaration: Declaration, *, place: str = "mlp", names: Mapping[str, str] = EXPERT) -> Iterator[Rule]:
    """Routers and stacks of experts; `place` of a layer holds them, each expert with matrices called `names`."""
    for number, layer in enumerate(declaration.layers):
        count = getattr(layer.feed_forward.options, "experts", 0)
        their, part = f"model.layers.{number}.{place}.", f"layers.{number}.feed_forward."
        yield same(f"{part}router.weight", f"{their}gate.weight")
        for own, name in names.items():
            yield stack(f"{part}{own}", [f"{their}experts.{expert}.{name}.weight" for expert in range(count)])
