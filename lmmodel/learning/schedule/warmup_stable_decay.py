"""Up to the full learning rate, on at it, and down to nothing: the length of the middle can be decided late.

Hu and others, 2024, "MiniCPM" (arXiv:2404.06395); Hägele and others, 2024 (arXiv:2405.18392), on how long to decay.
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import model_validator

from lmmodel.params.settings import Fraction, Settings


class Options(Settings):
    """Fractions of the budget. shape: how the rate falls over the decay, from 1 down to `final`."""

    warmup_fraction: Fraction = 0.02
    decay_fraction: Fraction = 0.5
    shape: Literal["linear", "square_root"] = "linear"
    final: Fraction = 0.0

    @model_validator(mode="after")
    def _both_fit(self) -> Self:
        if self.warmup_fraction + self.decay_fraction > 1:
            raise ValueError("takes a warmup_fraction and a decay_fraction that together are at most 1")
        return self


def schedule(options: Options, fraction: float) -> float:
    """What the learning rate is multiplied by when `fraction` of the budget, from 0 to 1, is spent."""
    if fraction <= options.warmup_fraction and options.warmup_fraction:
        return fraction / options.warmup_fraction
    begin = 1 - options.decay_fraction
    if fraction <= begin:
        return 1.0
    done = (fraction - begin) / options.decay_fraction
    fallen = done if options.shape == "linear" else math.sqrt(done)
    return options.final + (1 - options.final) * (1 - fallen)
