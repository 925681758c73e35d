"""What a training says while it runs. Who listens decides what to print, to track and to draw.

Times and speeds are here for people alone: nothing that is kept holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lmmodel.learning.plan import Plan


@dataclass(frozen=True)
class Began:
    """It begins, or goes on after `step` steps that were saved."""

    plan: Plan
    step: int


@dataclass(frozen=True)
class Said:
    """One line for people."""

    text: str


@dataclass(frozen=True)
class Stepped:
    """A step is done. rate: what learning rates were multiplied by; seconds_left: at the pace so far."""

    step: int
    tokens: int
    loss_nats: float
    gradient_norm: float
    rate: float
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Validated:
    """The model on text that it never learns from; train_loss_nats: of the steps since it was put to that before.

    health: figures by name, see lmmodel/learning/health.py.
    """

    step: int
    tokens: int
    train_loss_nats: float
    loss_nats: float
    bits_per_byte: float
    health: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """What it takes to go on after `step` steps is on the disk."""

    step: int


Report = Began | Said | Stepped | Validated | Saved
