"""A short look back, channel by channel: a weighted sum of a token's numbers and those of the few before it.

What recurrent mixers put before their memory. Fu and others, 2022, "Hungry Hungry Hippos"; Gu and Dao, 2023, "Mamba".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmmodel.architecture.span import Span


class ShortConvolution(nn.Module):
    """`taps` weights a channel, the last of them for the token itself; it sees nothing of another document."""

    def __init__(self, channels: int, taps: int, *, bias: bool = False) -> None:
        super().__init__()
        self.taps = taps
        self.weight = nn.Parameter(torch.empty(channels, taps))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def initialise(self, generator: torch.Generator) -> None:
        """Uniform within 1 / sqrt(taps) of zero, as torch's own convolutions."""
        values = torch.rand(self.weight.shape, generator=generator)
        self.weight.copy_((2 * values - 1) * self.taps**-0.5)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x_BTC: Tensor, span: Span) -> Tensor:
        """The shape of `x_BTC`; what earlier passes gave is in the span."""
        y_BTC = x_BTC * self.weight[:, -1]
        if self.bias is not None:
            y_BTC = y_BTC + self.bias
        for back, (earlier_BTC, there_BT) in enumerate(span.before(self, x_BTC, self.taps - 1), 1):
            tap_BTC = self.weight[:, -1 - back] * there_BT[..., None]
            y_BTC = torch.addcmul(y_BTC, earlier_BTC, tap_BTC)
        return y_BTC
