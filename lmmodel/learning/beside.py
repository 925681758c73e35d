"""AdamW for what an optimizer of matrices leaves to it: embeddings, which decay, and vectors, which do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lmmodel.learning.decay import Decay, Memory, groups
from lmmodel.params.settings import Positive, Settings

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import AdamW


class Beside(Settings):
    """`learning_rate` and `weight_decay` are of matrices.

    adamw_learning_rate: of embeddings and vectors. adamw_weight_decay: of embeddings.
    """

    learning_rate: Positive = 3e-3
    adamw_learning_rate: Positive = 3e-3
    weight_decay: Decay = 0.1
    adamw_weight_decay: Decay = 0.1
    beta1: Memory = 0.9
    beta2: Memory = 0.95
    epsilon: Positive = 1e-8


def adamw(options: Beside, parameters: Mapping[str, Sequence[nn.Parameter]]) -> AdamW:
    """torch's, fused, over the embeddings and vectors of `parameters`, which come by role."""
    from torch.optim import AdamW

    taken = groups(parameters, "embedding", weight_decay=options.adamw_weight_decay)
    betas = (options.beta1, options.beta2)
    return AdamW(taken, lr=options.adamw_learning_rate, betas=betas, eps=options.epsilon, fused=True)
