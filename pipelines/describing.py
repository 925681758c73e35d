"""A design in words: parts with what they were told, from plain data, so that it costs no import and runs no kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmmodel.architecture.families import PARTS
from lmmodel.params.refusal import Refusal

_ALWAYS = ("activation", "kv_heads", "hidden")  # worth a word even where they are what they always are
_SILENT = (None, False, "none", ())

Part = dict[str, Any]


def name(kind: str) -> str:
    """What a kind is called in a line: a file of one's own without its folder."""
    return Path(kind).stem


def options(family: str, part: Part, *, heads: int) -> list[str]:
    """What `part` was told that it would not have done by itself, a few words each."""
    usual = _usual(family, part["kind"])
    told = {key: value for key, value in part.items() if key != "kind"}
    return [
        _phrase(key, value, heads)
        for key, value in told.items()
        if value not in _SILENT and (key in _ALWAYS or value != usual.get(key))
    ]


def brief(declaration: dict[str, Any]) -> str:
    """`rms, rotary, multi_head (4 heads on 2 key-value heads), gated silu, prenorm`."""
    words = []
    for family in PARTS:
        distinct = dict.fromkeys(_short(family, layer[family], declaration["heads"]) for layer in declaration["layers"])
        words.append(" and ".join(distinct))
    return ", ".join(words)


def size(declaration: dict[str, Any]) -> str:
    """`6 layers, width 256, context 256, vocabulary 4,096`."""
    depth = declaration["depth"]
    return (
        f"{depth:,} layer{'' if depth == 1 else 's'}, width {declaration['width']:,}, "
        f"context {declaration['context']:,}, vocabulary {declaration['vocab_size']:,}"
    )


def _short(family: str, part: Part, heads: int) -> str:
    told = options(family, part, heads=heads)
    if family == "feed_forward":
        told = [text for text in told if not text.startswith("hidden")]
        return " ".join([name(part["kind"]), *told])
    return name(part["kind"]) + (f" ({', '.join(told)})" if told else "")


def _usual(family: str, kind: str) -> dict[str, Any]:
    """The defaults of a kind; none where its file is not here any more."""
    try:
        return PARTS[family].options(kind)().dump()
    except (Refusal, OSError):
        return {}


def _phrase(key: str, value: Any, heads: int) -> str:
    if key == "kv_heads":
        fewer = f" on {value} key-value head{'' if value == 1 else 's'}"
        return f"{heads} heads{'' if value == heads else fewer}"
    if key == "activation":
        return str(value)
    if value is True:
        return key
    return f"{key} {number(value) if isinstance(value, int | float) else value}"


def number(value: float) -> str:
    """`10,000`, `0.5`, `1e-06`."""
    return f"{int(value):,}" if value == int(value) and abs(value) < 1e15 else f"{value:g}"
