"""Adam with weight decay apart from the gradient.

Loshchilov and Hutter, 2017, "Decoupled Weight Decay Regularization" (arXiv:1711.05101). Vectors (norms, biases) do not
decay: pulling a gain towards 0 is not what weight decay is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from lmmodel.params.settings import Fraction, Positive, Real, Settings

Decay = Annotated[Real, Field(ge=0)]
Memory = Annotated[Fraction, Field(lt=1)]


class Options(Settings):
    """Per-weight steps of about `learning_rate`; `beta1` and `beta2` are the memories of mean and square."""

    learning_rate: Positive = 3e-3
    weight_decay: Decay = 0.1
    beta1: Memory = 0.9
    beta2: Memory = 0.95
    epsilon: Positive = 1e-8


class Optimizer:
    """One optimizer over all roles: `parts` are torch's, whose groups hold every parameter exactly once."""

    def __init__(
        self, options: Options, parameters: Mapping[str, Sequence[nn.Parameter]], *, dtype: torch.dtype
    ) -> None:
        decays = [*parameters["matrix"], *parameters["embedding"]]
        groups = [
            {"params": decays, "weight_decay": options.weight_decay},
            {"params": list(parameters["vector"]), "weight_decay": 0.0},
        ]
        betas = (options.beta1, options.beta2)
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.AdamW(groups, lr=options.learning_rate, betas=betas, eps=options.epsilon, fused=True),
        )
