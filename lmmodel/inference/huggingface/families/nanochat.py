"""nanochat (Karpathy, 2025, github.com/karpathy/nanochat): norms without weights, squared relu, softly capped logits.

Its rotation turns the other way, and its norm of queries and keys comes after it. Without a weight that norm is the
same before; and with the halves of each head exchanged, the turn is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration, Head
from lmmodel.inference.huggingface import decoder, rope
from lmmodel.inference.huggingface.assembly import Seen, assemble
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.rules import Rule, modules, rows

ARCHITECTURE, BASE = "NanoChatForCausalLM", "model"
DEFAULTS = {
    **decoder.DEFAULTS,
    "hidden_act": "relu2",
    "attention_bias": False,
    "final_logit_softcapping": 15.0,
}
_NAMES = {
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "feed_forward.up": "mlp.fc1",
    "feed_forward.out": "mlp.fc2",
}


def declare(config: Config) -> Declaration:
    """Every layer alike; one more norm on the embedding."""
    sizes = decoder.sizes(config)
    bias = config.flag("attention_bias")
    position = rope.position(config, context=sizes.context)
    if position["scaling"] == "yarn":
        raise config.refuse("rope_parameters", "stretches what turned, which its norm then takes back: not expressible")
    layer = {
        "norm": decoder.norm(config, weight="none"),
        "position": position,
        "attention": decoder.attention(config, heads=sizes.heads, qk_norm="head", bias=bias),
        "feed_forward": {**decoder.gated(config), "kind": "plain"},
        "block": "prenorm",
    }
    head = Head(softcap=config.number_or_none("final_logit_softcapping"))
    embedding = decoder.embedding(config, norm=True)
    return assemble(config, sizes=sizes, layers=[layer] * sizes.depth, embedding=embedding, head=head)


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of every layer, from the first."""
    told = {"attention_bias": seen("attention", "bias"), "final_logit_softcapping": seen.declaration.head.softcap}
    return {**decoder.described(seen), **decoder.gated_described(seen), **decoder.rope_described(seen), **told}


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module, but that the halves of queries and keys change places."""
    yield from decoder.ends()
    width = declaration.head_width
    halves = [*range(width // 2, width), *range(width // 2)]
    for number, layer in enumerate(declaration.layers):
        own, their = f"layers.{number}.", f"model.layers.{number}."
        yield from modules(own, their, _NAMES)
        kv_heads = getattr(layer.attention.options, "kv_heads", None) or declaration.heads
        for name, heads in (("query", declaration.heads), ("key", kv_heads)):
            order = [head * width + place for head in range(heads) for place in halves]
            for kind in ("weight", "bias"):
                theirs = f"{their}self_attn.{name[0]}_proj.{kind}"
                yield rows([f"{own}attention.{name}.{kind}"], theirs, widths=[len(order)], order=order)
