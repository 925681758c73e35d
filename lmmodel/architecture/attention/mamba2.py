"""A state space whose memory is a matrix that fades as each token decides: attention without a softmax, with a clock.

Dao and Gu, 2024, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space
Duality". In its words x is the value, B the key, C the query, dt the step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmmodel.architecture.convolution import ShortConvolution
from lmmodel.architecture.narrowing import OutNorm
from lmmodel.architecture.recurrence import remember, step_bias
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Count, Positive, Settings


class Options(Settings):
    """`expansion` times the width is what the values of all heads hold; each head remembers `state_width` of them.

    heads: as many as make heads of the model's head width, where none is given. groups: keys and queries, each shared
    by heads in equal number. convolution: tokens that the short one sees. epsilon: of the norm before the output.
    """

    state_width: Count = 128
    expansion: Positive = 2.0
    heads: Count | None = None
    groups: Count = 1
    convolution: Count = 4
    epsilon: Positive = 1e-5

    def complete(self, sizes: Sizes) -> Options:
        """With `heads` as a number; ValueError where heads, groups and widths do not divide."""
        inner = self.expansion * sizes.width
        if inner != int(inner):
            raise ValueError(f"has expansion {self.expansion:g} times width {sizes.width}, which is no whole number")
        if self.heads is None and inner % sizes.head_width:
            raise ValueError(
                f"has {inner:g} values, which the head width {sizes.head_width} does not divide: say heads"
            )
        heads = self.heads or int(inner) // sizes.head_width
        if inner % heads:
            raise ValueError(f"has {inner:g} values, which {heads} heads do not divide")
        if heads % self.groups:
            raise ValueError(f"has {heads} heads, which {self.groups} groups do not divide")
        return self.model_copy(update={"heads": heads})


class Attention(nn.Module):
    """memory = exp(-rate step) memory + step k v', y = memory' q + skip v; then gated, normed, out."""

    honours: ClassVar[frozenset[str]] = frozenset()
    orders_itself: ClassVar[bool] = True

    def __init__(
        self, options: Options, sizes: Sizes, *, position: Callable[[Sizes], Any], norm: Callable[[Sizes], Any]
    ) -> None:
        super().__init__()
        told = options.complete(sizes)
        assert told.heads is not None
        inner, shared = int(told.expansion * sizes.width), told.groups * told.state_width
        self.heads, self.state_width, self.widths = told.heads, told.state_width, (inner, shared, shared)
        self.value = nn.Linear(sizes.width, inner, bias=False)
        self.key = nn.Linear(sizes.width, shared, bias=False)
        self.query = nn.Linear(sizes.width, shared, bias=False)
        self.step = nn.Linear(sizes.width, told.heads, bias=False)
        self.gate = nn.Linear(sizes.width, inner, bias=False)
        self.convolution = ShortConvolution(sum(self.widths), told.convolution, bias=True)
        self.log_rate_H = nn.Parameter(torch.empty(told.heads))
        self.step_bias_H = nn.Parameter(torch.empty(told.heads))
        self.skip_H = nn.Parameter(torch.empty(told.heads))
        self.out_norm = OutNorm(inner, eps=told.epsilon)
        self.out = nn.Linear(inner, sizes.width, bias=False)

    def initialise(self, generator: torch.Generator) -> None:
        """Rates of 1 to 16, steps of 0.001 to 0.1, values skipped past the memory as they are."""
        self.log_rate_H.copy_(torch.empty(self.heads).uniform_(1, 16, generator=generator).log())
        self.step_bias_H.copy_(step_bias(self.heads, generator))
        self.skip_H.fill_(1.0)

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """Each token of `x_BTD` mixed with what it sees."""
        mixed_BTN = torch.cat([self.value(x_BTD), self.key(x_BTD), self.query(x_BTD)], dim=-1)
        v_BTN, k_BTN, q_BTN = F.silu(self.convolution(mixed_BTN, span)).split(self.widths, dim=-1)
        v_BTHV = v_BTN.unflatten(-1, (self.heads, -1))
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        step_BTH = F.softplus(self.step(x_BTD).to(wide) + self.step_bias_H.to(wide))
        (memory,) = span.recall(self) or (None,)
        y_BTHV, memory = remember(
            q_BTN.unflatten(-1, (-1, self.state_width)),
            k_BTN.unflatten(-1, (-1, self.state_width)),
            v_BTHV * step_BTH[..., None].to(v_BTHV.dtype),
            log_decay_BTH=-self.log_rate_H.to(wide).exp() * step_BTH,
            begins_BT=span.positions_BT == 0,
            memory_BGKRV=memory,
        )
        span.keep(self, memory)
        y_BTN = (y_BTHV + v_BTHV * self.skip_H[:, None]).flatten(2)
        return self.out(self.out_norm(y_BTN * F.silu(self.gate(x_BTD))))
