"""What MLflow takes: names, lengths, numbers, and how much at once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

PARAMETER_LETTERS, TAG_LETTERS, KEY_LETTERS, DIGEST_LETTERS = 6000, 8000, 250, 36
PARAMETERS_AT_ONCE, METRICS_AT_ONCE = 100, 1000

Item = TypeVar("Item")


def key(name: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^\w.\- :/]", "_", name)[:KEY_LETTERS]


def model_name(name: str) -> str:
    """A name that MLflow takes for a model."""
    return re.sub(r"""[/:.%"']""", "_", name)[:KEY_LETTERS]


def cut(text: str, letters: int) -> str:
    """`text`, or as much of it as fits."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def numbers(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers in nested figures, by name; MLflow's page makes a section of what stands before a slash."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield key(f"{prefix}{name}"), float(value)


def below(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    """The figures whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """`items`, so many at once."""
    return (items[first : first + size] for first in range(0, len(items), size))
