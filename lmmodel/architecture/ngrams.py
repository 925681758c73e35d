"""Tables for runs of tokens: what a token is, read with the few before it, before anything is computed.

Rows are looked up by a hash of the run, so that a table may be smaller than the runs there are; some then share a row.
Clark and others, 2022, "CANINE" (hashed embeddings); Pagnoni and others, 2024, "Byte Latent Transformer" (of runs);
Huang and others, 2025, "Over-Tokenized Transformer". A look-up costs a token next to nothing, however large the table.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmmodel.architecture.span import Span

_PRIME = 2**31 - 1
_FACTOR = 1_103_515_245  # below the prime, so that no product leaves 63 bits


class _Table(nn.Embedding):
    """Says nothing of a run before it was met: random rows of rare runs are noise for long."""

    def initialise(self, generator: torch.Generator) -> None:
        """Zero."""
        self.weight.zero_()


class NGrams(nn.Module):
    """`rows[i]` rows for runs of i + 2 tokens: tokens_BT -> the sum of each token's runs, [B, T, width].

    A run ends with its token and does not reach into another document: what would is a row like any other.
    """

    def __init__(self, rows: Sequence[int], width: int) -> None:
        super().__init__()
        self.rows = tuple(rows)
        self.tables = nn.ModuleList(_Table(count, width) for count in rows)

    def forward(self, tokens_BT: Tensor, span: Span) -> Tensor:
        """What earlier passes gave is in the span."""
        before = span.before(self, tokens_BT, len(self.tables))
        runs_BT, found = tokens_BT, []
        for rows, table, (earlier_BT, there_BT) in zip(self.rows, self.tables, before, strict=True):
            runs_BT = (runs_BT * _FACTOR + torch.where(there_BT, earlier_BT + 1, 0)) % _PRIME
            found.append(table(runs_BT % rows))
        return sum(found[1:], found[0])
