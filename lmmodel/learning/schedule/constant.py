"""Up to the full learning rate, and on at it."""

from __future__ import annotations

from lmmodel.params.settings import Fraction, Settings


class Options(Settings):
    """warmup_fraction: of the budget, from 0 up to the full rate in a straight line."""

    warmup_fraction: Fraction = 0.0


def schedule(options: Options, fraction: float) -> float:
    """What the learning rate is multiplied by when `fraction` of the budget, from 0 to 1, is spent."""
    return min(1.0, fraction / options.warmup_fraction) if options.warmup_fraction else 1.0
