"""Softmax attention in which a token fades: its share halves every so many tokens, at a rate that each head learns.

After the decay of retention (Sun and others, 2023, "Retentive Network"), put into softmax scores as ALiBi does (Press
and others, 2021). The worked example of a kind of one's own: `attention: {kind: experiments/fading.py, half_life: 32}`.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn

from lmmodel.architecture.attend import attend
from lmmodel.params.settings import Positive, Settings


class Options(Settings):
    """half_life: tokens after which a share has halved, at first: so many in head 0, twice as many in each next."""

    half_life: Positive = 32


class Attention(nn.Module):
    """Query, key, value, fading scores, out. A position may turn queries and keys; the scores are this kind's own."""

    honours = frozenset({"queries and keys"})

    def __init__(self, options, sizes, *, position, norm):
        super().__init__()
        inner = sizes.heads * sizes.head_width
        self.query, self.key, self.value = (nn.Linear(sizes.width, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, sizes.width, bias=False)
        self.position = position(sizes)
        half_life_H = options.half_life * 2.0 ** torch.arange(sizes.heads)
        self.rate_H = nn.Parameter((log(2) / half_life_H).log())  # the rate is its exponential: never below 0
        self.heads = sizes.heads

    def forward(self, x_BTD: Tensor, span) -> Tensor:
        """Each token mixed with the earlier ones that have not faded."""
        q_BTHK, k_BTHK, v_BTHK = (
            part(x_BTD).unflatten(-1, (self.heads, -1)) for part in (self.query, self.key, self.value)
        )
        q_BTHK, k_BTHK = (self.position.rotate(x, span.positions_BT) for x in (q_BTHK, k_BTHK))
        k_BSHK, v_BSHK = span.extend(self, k_BTHK, v_BTHK)
        return self.out(attend(q_BTHK, k_BSHK, v_BSHK, span, bias=self.fade).flatten(2))

    def fade(self, head: Tensor, distance: Tensor) -> Tensor:
        """What is added to a score over `distance` tokens: the logarithm of the share that is left."""
        return -self.rate_H.exp()[head] * distance
