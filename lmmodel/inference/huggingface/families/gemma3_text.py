"""Gemma 3 (Google, 2025, "Gemma 3 Technical Report"), its text model: two wavelengths, normed queries and keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface import decoder, rope
from lmmodel.inference.huggingface.assembly import Seen
from lmmodel.inference.huggingface.config import Config
from lmmodel.inference.huggingface.families.gemma2 import DEFAULTS as GEMMA2
from lmmodel.inference.huggingface.families.gemma2 import GLOBAL, LOCAL, NAMES, declared, described
from lmmodel.inference.huggingface.rules import Rule

ARCHITECTURE, BASE = "Gemma3ForCausalLM", "model"
DEFAULTS = {
    **GEMMA2,
    "final_logit_softcapping": None,
    "attn_logit_softcapping": None,
    "rope_theta": 1e6,
    "rope_local_base_freq": 10_000.0,
    "sliding_window_pattern": 6,
}


def declare(config: Config) -> Declaration:
    """Layers with a window and without, each kind with a wavelength of its own."""
    sizes = decoder.sizes(config)
    every = config.count("sliding_window_pattern")
    config.free("_sliding_window_pattern")  # what transformers remembers of it, beside the layer_types it made
    types = [LOCAL if number % every else GLOBAL for number in range(1, sizes.depth + 1)]
    types = decoder.layer_types(config, sizes.depth, otherwise=types)
    return declared(config, sizes, types, _positions(config, sizes.context), qk_norm="head")


def _positions(config: Config, context: int) -> dict[str, Any]:
    """Each kind's rotation; an older file scales that of global layers alone."""
    told = config.below("rope_parameters")
    around = {GLOBAL: config.number("rope_theta"), LOCAL: config.number("rope_local_base_freq")}
    inner = {kind: told.below(kind) for kind in around}
    told.finish()
    older = config.below("rope_scaling").data
    inner[GLOBAL].data |= older
    return {kind: rope.one(inner[kind], theta=theta, context=context) for kind, theta in around.items()}


def describe(seen: Seen) -> dict[str, Any]:
    """The settings of Gemma 3; the layers with a window give the local rotation, the others the global one."""
    layers = list(zip(seen.layers, seen.each("attention", "window"), strict=True))
    turns = {
        kind: [layer["position"] for layer, width in layers if bool(width) == (kind == LOCAL)]
        for kind in (LOCAL, GLOBAL)
    }
    told = {kind: rope.parameters(parts[0] if parts else {"theta": 1e4}) for kind, parts in turns.items()}
    return {**described(seen), "rope_parameters": told}


def rules(declaration: Declaration) -> Iterator[Rule]:
    """Module for module."""
    return decoder.layers(declaration, NAMES)
