"""Attention without the softmax: features of queries and keys are multiplied, so what was seen sums to one matrix.

Katharopoulos and others, 2020, "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmmodel.architecture.recurrence import remember
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Settings


class Options(Settings):
    """`feature`: what makes numbers positive. `elu` is elu(x) + 1; `softmax` is over each head's numbers."""

    feature: Literal["elu", "relu", "softmax"] = "elu"
    bias: bool = False


class Attention(nn.Module):
    """y = sum of f(q) f(k) v / sum of f(q) f(k); it remembers [heads, head_width, head_width + 1] numbers."""

    honours: ClassVar[frozenset[str]] = frozenset()
    orders_itself: ClassVar[bool] = True

    def __init__(
        self, options: Options, sizes: Sizes, *, position: Callable[[Sizes], Any], norm: Callable[[Sizes], Any]
    ) -> None:
        super().__init__()
        self.head_width, self.feature = sizes.head_width, _FEATURES[options.feature]
        inner = sizes.heads * sizes.head_width
        self.query = nn.Linear(sizes.width, inner, bias=options.bias)
        self.key = nn.Linear(sizes.width, inner, bias=options.bias)
        self.value = nn.Linear(sizes.width, inner, bias=options.bias)
        self.out = nn.Linear(inner, sizes.width, bias=options.bias)

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """Each token of `x_BTD` mixed with what it sees."""
        q_BTHK, k_BTHK, v_BTHK = (
            part(x_BTD).unflatten(-1, (-1, self.head_width)) for part in (self.query, self.key, self.value)
        )
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        (memory,) = span.recall(self) or (None,)
        y_BTHU, memory = remember(
            self.feature(q_BTHK),
            self.feature(k_BTHK),
            F.pad(v_BTHK, (0, 1), value=1.0),  # a value of one sums to the weight of all the others
            log_decay_BTH=torch.zeros(1, x_BTD.size(1), 1, device=x_BTD.device, dtype=wide),
            begins_BT=span.positions_BT == 0,
            memory_BGKRV=memory,
        )
        span.keep(self, memory)
        y_BTHK = y_BTHU[..., :-1] / (y_BTHU[..., -1:] + 1e-6)  # relu may leave nothing to divide by
        return self.out(y_BTHK.flatten(2))


def _elu(x: Tensor) -> Tensor:
    return F.elu(x) + 1


def _softmax(x: Tensor) -> Tensor:
    return x.softmax(dim=-1)


_FEATURES: dict[str, Callable[[Tensor], Tensor]] = {"elu": _elu, "relu": F.relu, "softmax": _softmax}
