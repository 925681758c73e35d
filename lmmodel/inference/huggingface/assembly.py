"""Between the settings of a published architecture and a declaration: putting one together, and looking into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from lmmodel.architecture.declaration import Declaration, Embedding, Head, Initial, Layer
from lmmodel.architecture.families import ATTENTION, PARTS, POSITION
from lmmodel.architecture.sizes import Sizes
from lmmodel.inference.huggingface.config import Config
from lmmodel.params.kinds import Chosen, choose
from lmmodel.params.refusal import Refusal

Parts = Mapping[str, Any]
"""A layer: each part's kind, or its kind and options, by family."""


def assemble(
    config: Config,
    *,
    sizes: Sizes,
    layers: Sequence[Parts],
    embedding: Embedding,
    head: Head | None = None,
) -> Declaration:
    """The declaration of what `config` was found to say, after nothing in it was left unread."""
    std, vocab_size = config.number("initializer_range"), config.count("vocab_size")
    config.finish()
    try:
        declared = [Layer(**_chosen(parts, sizes)) for parts in layers]
        return Declaration(
            width=sizes.width,
            depth=sizes.depth,
            heads=sizes.heads,
            head_width=sizes.head_width,
            context=sizes.context,
            vocab_size=vocab_size,
            layers=tuple(declared),
            norm=declared[-1].norm,
            position=declared[-1].position,
            embedding=embedding,
            head=head or Head(),
            initial=Initial(std=std or Initial().std, outputs="plain"),
        )
    except (ValidationError, ValueError) as error:
        text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise Refusal(f"{config.name}: cannot be declared: {text}") from None


def _chosen(parts: Parts, sizes: Sizes) -> dict[str, Chosen]:
    chosen = {family: choose(PARTS[family], value) for family, value in parts.items()}
    return {name: Chosen(part.kind, part.options.complete(sizes)) for name, part in chosen.items()}


class Seen:
    """A declaration, asked for its options by name: what layers have in common is found in the first that has it."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self.layers = [{name: getattr(layer, name).dump() for name in PARTS} for layer in declaration.layers]

    def __call__(self, family: str, option: str, *, kind: str | None = None) -> Any:
        """An option of the first layer whose part has it (and is a `kind`); None where none has."""
        for layer in self.layers:
            part = layer[family]
            if option in part and kind in (None, part["kind"]):
                return part[option]
        return None

    def each(self, family: str, option: str) -> list[Any]:
        """An option of every layer; None where its part has none."""
        return [layer[family].get(option) for layer in self.layers]

    def first(self, family: str, option: str, value: Any) -> dict[str, Any]:
        """The first layer's part, with kind and options, whose `option` is `value`; empty where there is none."""
        return next((layer[family] for layer in self.layers if layer[family].get(option) == value), {})


def essence(declaration: Declaration) -> dict[str, Any]:
    """What decides a model's logits, flat and by name: not how training starts and balances, nor parts without use."""
    told = declaration.dump()
    for name in ("initial", "accept"):
        del told[name]
    if POSITION.declares(declaration.position.kind, "acts_on", declaration.position.file) != "embedding":
        del told["position"]
    for number, layer in enumerate(declaration.layers):
        parts = told["layers"][number]
        if ATTENTION.declares(layer.attention.kind, "orders_itself", layer.attention.file, default=False):
            del parts["position"]
        for option in ("balance_weight", "balance_rate"):
            parts["feed_forward"].pop(option, None)
        if parts["feed_forward"].get("balance") == "none":
            parts["feed_forward"]["balance"] = "auxiliary"
    return dict(_flat(told, ""))


def _flat(value: Any, name: str) -> list[tuple[str, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        return [(name, value)]
    return [pair for key, part in inner for pair in _flat(part, f"{name}.{key}" if name else str(key))]
