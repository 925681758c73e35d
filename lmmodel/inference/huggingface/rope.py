"""Rotary positions as a config.json tells them, in the spelling of transformers 5 and in the older one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lmmodel.inference.huggingface.config import Config

SCALINGS = {"default": "none", "linear": "linear", "yarn": "yarn", "llama3": "llama3"}
"""By `rope_type`. The others depend on the length of the text at hand (dynamic) or on learned tables (longrope)."""
_TYPES = {**{ours: theirs for theirs, ours in SCALINGS.items()}, "yarn_untruncated": "yarn"}


def position(config: Config, *, context: int, theta: float = 10_000.0, fraction: float | None = None) -> dict[str, Any]:
    """The position of a folder. `theta` and `fraction` where it tells none; no `fraction`: every head turns whole."""
    told = config.below("rope_scaling" if config.told("rope_scaling") else "rope_parameters")
    config.free("rope_parameters", "rope_scaling")
    outside = Config(config.data, name=config.name, defaults={"rope_theta": theta})
    config.free("rope_theta", "partial_rotary_factor")
    result = one(told, theta=outside.number("rope_theta"), context=context, fraction=fraction)
    if fraction is None:
        outside.only("partial_rotary_factor", None, 1.0)
    elif config.told("partial_rotary_factor") and not told.told("partial_rotary_factor"):
        result["fraction"] = outside.number("partial_rotary_factor")
    return result


def one(told: Config, *, theta: float, context: int, fraction: float | None = None) -> dict[str, Any]:
    """One set of rotary parameters; `theta` and `fraction` where it has none of its own."""
    told.defaults |= {"rope_type": told.data.get("type", "default"), "rope_theta": theta}
    told.defaults |= {"partial_rotary_factor": fraction, "original_max_position_embeddings": context}
    told.free("type")
    scaling = told.word("rope_type", SCALINGS)
    result = {"kind": "rotary", "theta": told.number("rope_theta"), "scaling": scaling, **_READ[scaling](told)}
    if fraction is None:
        told.only("partial_rotary_factor", None, 1.0)
    else:
        result["fraction"] = told.number("partial_rotary_factor")
    if scaling == "none":  # what a default rotation is given beside its theta has no effect in transformers either
        told.free("factor", "original_max_position_embeddings")
    told.finish()
    return result


def _linear(told: Config) -> dict[str, Any]:
    return {"factor": told.number("factor")}


def _yarn(told: Config) -> dict[str, Any]:
    told.defaults |= {"beta_fast": None, "beta_slow": None, "attention_factor": None, "factor": None, "truncate": True}
    truncated = told.take("truncate") is None or told.flag("truncate")
    told.free("mscale", "mscale_all_dim")
    context = told.count("original_max_position_embeddings")
    factor = told.number_or_none("factor")
    if factor is None:
        factor = told.defaults["original_max_position_embeddings"] / context
    return {
        "scaling": "yarn" if truncated else "yarn_untruncated",
        "factor": factor,
        "original_context": context,
        "fast_turns": told.number_or_none("beta_fast") or 32.0,
        "slow_turns": told.number_or_none("beta_slow") or 1.0,
        "attention_factor": told.number_or_none("attention_factor") or _attention_factor(told, factor),
    }


def _attention_factor(told: Config, factor: float) -> float:
    told.defaults |= {"mscale": None, "mscale_all_dim": None}  # DeepSeek's; they have effect together alone
    above, below = told.number_or_none("mscale"), told.number_or_none("mscale_all_dim")
    return stretch(factor, above) / stretch(factor, below) if above and below else stretch(factor)


def stretch(factor: float, share: float = 1.0) -> float:
    """How much YaRN stretches what turned: 1 + 0.1 share ln(factor)."""
    return 1.0 if factor <= 1 else 0.1 * share * math.log(factor) + 1.0


def _llama3(told: Config) -> dict[str, Any]:
    return {
        "factor": told.number("factor"),
        "original_context": told.count("original_max_position_embeddings"),
        "slow_turns": told.number("low_freq_factor"),
        "fast_turns": told.number("high_freq_factor"),
    }


_READ = {"none": lambda told: {}, "linear": _linear, "yarn": _yarn, "llama3": _llama3}

_YARN = {
    "factor": "factor",
    "original_context": "original_max_position_embeddings",
    "fast_turns": "beta_fast",
    "slow_turns": "beta_slow",
    "attention_factor": "attention_factor",
}
_SPELT = {
    "linear": {"factor": "factor"},
    "yarn": _YARN,
    "yarn_untruncated": _YARN,
    "llama3": {
        "factor": "factor",
        "original_context": "original_max_position_embeddings",
        "slow_turns": "low_freq_factor",
        "fast_turns": "high_freq_factor",
    },
}


def parameters(position: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
    """`rope_parameters` for a rotary position's options; `partial`: of an architecture that turns part of a head.

    Without a rotary position they are some that it is not.
    """
    scaling = position.get("scaling", "none")
    told = {"rope_type": _TYPES.get(scaling, "default"), "rope_theta": position.get("theta", 10_000.0)}
    told |= {their: position[own] for own, their in _SPELT.get(scaling, {}).items()}
    told |= {"truncate": False} if scaling == "yarn_untruncated" else {}
    return {**told, "partial_rotary_factor": position.get("fraction", 1.0)} if partial else told
