"""Up to the full learning rate, then down along half a cosine to the end of the budget.

Loshchilov and Hutter, 2016, "SGDR" (arXiv:1608.03983). A tenth that is left at the end is GPT-3's and Chinchilla's.
"""

from __future__ import annotations

import math

from lmmodel.params.settings import Fraction, Settings


class Options(Settings):
    """warmup_fraction: of the budget, from 0 up to the full rate. final: what is left of the rate at the end."""

    warmup_fraction: Fraction = 0.05
    final: Fraction = 0.1


def schedule(options: Options, fraction: float) -> float:
    """What the learning rate is multiplied by when `fraction` of the budget, from 0 to 1, is spent."""
    if fraction <= options.warmup_fraction and options.warmup_fraction:
        return fraction / options.warmup_fraction
    done = (fraction - options.warmup_fraction) / (1 - options.warmup_fraction)
    return options.final + (1 - options.final) * (1 + math.cos(math.pi * done)) / 2
