"""Adam with weight decay apart from the gradient.

Loshchilov and Hutter, 2017, "Decoupled Weight Decay Regularization" (arXiv:1711.05101).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import nn

from lmmodel.learning.decay import Decay, Memory, groups
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """Per-weight steps of about `learning_rate`; `beta1` and `beta2` are the memories of mean and square."""

    learning_rate: Positive = 3e-3
    weight_decay: Decay = 0.1
    beta1: Memory = 0.9
    beta2: Memory = 0.95
    epsilon: Positive = 1e-8


class Optimizer:
    """One optimizer over all roles: `parts` are torch's, whose groups hold every parameter exactly once."""

    piecemeal: ClassVar[frozenset[str]] = frozenset({"matrix", "embedding", "vector"})
    adamw_rates: ClassVar[tuple[str, ...]] = ("learning_rate",)

    def __init__(
        self, options: Options, parameters: Mapping[str, Sequence[nn.Parameter]], *, dtype: torch.dtype
    ) -> None:
        decaying = groups(parameters, "matrix", "embedding", weight_decay=options.weight_decay)
        betas = (options.beta1, options.beta2)
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.AdamW(decaying, lr=options.learning_rate, betas=betas, eps=options.epsilon, fused=True),
        )
