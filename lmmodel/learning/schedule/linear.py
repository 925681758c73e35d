"""Up to the full learning rate, then down in a straight line to the end of the budget.

Defazio and others, 2023, "When, Why and How Much?" (arXiv:2310.07831), found it the best of the simple schedules.
"""

from __future__ import annotations

from lmmodel.params.settings import Fraction, Settings


class Options(Settings):
    """warmup_fraction: of the budget, from 0 up to the full rate. final: what is left of the rate at the end."""

    warmup_fraction: Fraction = 0.05
    final: Fraction = 0.0


def schedule(options: Options, fraction: float) -> float:
    """What the learning rate is multiplied by when `fraction` of the budget, from 0 to 1, is spent."""
    if fraction <= options.warmup_fraction and options.warmup_fraction:
        return fraction / options.warmup_fraction
    left = (1 - fraction) / (1 - options.warmup_fraction)
    return options.final + (1 - options.final) * left
