"""GPT-2 and Llama 3 written straight with torch: the yardstick that the composed models are timed against.

Nothing is chosen here, and nothing can be: one file, one attention, one position, no state and no spans. Where a kernel
is to be had the choice is the same as the project's, so that what is compared is composition alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WrittenGpt2(nn.Module):
    """Learned positions, LayerNorm, biases, GELU, one table for input and output."""

    def __init__(self, *, width: int, depth: int, heads: int, context: int, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.places = nn.Embedding(context, width)
        self.layers = nn.ModuleList(_Gpt2Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """The normed last hidden state."""
        x_BTD = self.embedding(tokens_BT) + self.places(torch.arange(tokens_BT.size(1), device=tokens_BT.device)[None])
        for layer in self.layers:
            x_BTD = layer(x_BTD)
        return self.norm(x_BTD)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """logits_BTV."""
        return F.linear(self.hidden(tokens_BT), self.embedding.weight)


class _Gpt2Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = (nn.LayerNorm(width, eps=1e-5) for _ in range(2))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        h_BTD = self.attention_norm(x_BTD)
        q, k, v = (part(h_BTD).unflatten(-1, (self.heads, -1)) for part in (self.query, self.key, self.value))
        x_BTD = x_BTD + self.out(attention(q, k, v).flatten(2))
        return x_BTD + self.down(F.gelu(self.up(self.feed_forward_norm(x_BTD)), approximate="tanh"))


class WrittenLlama3(nn.Module):
    """Rotary positions, RMSNorm, four queries to a key-value head, SwiGLU, no biases, two tables."""

    def __init__(self, *, width: int, depth: int, heads: int, context: int, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.layers = nn.ModuleList(_Llama3Layer(width, heads) for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.pairs = width // heads // 2

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """The normed last hidden state."""
        places_T = torch.arange(tokens_BT.size(1), device=tokens_BT.device)
        rates_P = 500_000.0 ** -(torch.arange(self.pairs, device=tokens_BT.device, dtype=torch.float32) / self.pairs)
        angles_1T1P = (places_T[:, None] * rates_P)[None, :, None]
        cos, sin = angles_1T1P.cos(), angles_1T1P.sin()
        x_BTD = self.embedding(tokens_BT)
        for layer in self.layers:
            x_BTD = layer(x_BTD, cos, sin)
        return self.norm(x_BTD)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """logits_BTV."""
        return self.head(self.hidden(tokens_BT))


class _Llama3Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.head_width, shared = width // heads, width // 4
        hidden = round(3.5 * width)
        self.attention_norm, self.feed_forward_norm = (nn.RMSNorm(width, eps=1e-5) for _ in range(2))
        self.query, self.out = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.key, self.value = (nn.Linear(width, shared, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        h_BTD = self.attention_norm(x_BTD)
        q, k, v = (part(h_BTD).unflatten(-1, (-1, self.head_width)) for part in (self.query, self.key, self.value))
        x_BTD = x_BTD + self.out(attention(turned(q, cos, sin), turned(k, cos, sin), v).flatten(2))
        h_BTD = self.feed_forward_norm(x_BTD)
        return x_BTD + self.down(F.silu(self.gate(h_BTD)) * self.up(h_BTD))


def turned(x_BTHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys, the first half of a head paired with the second."""
    first, second = x_BTHK.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x_BTHK.dtype)


def attention(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor) -> Tensor:
    """torch's fused kernel; for two-byte numbers on a processor plain products in four strips, which are faster."""
    if q_BTHK.dtype.itemsize == 2 and q_BTHK.device.type == "cpu":
        return _strips(q_BTHK, k_BTGK, v_BTGK)
    each = q_BTHK.size(2) // k_BTGK.size(2)
    y_BHTK = F.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in (q_BTHK, k_BTGK, v_BTGK)), is_causal=True, enable_gqa=each > 1
    )
    return y_BHTK.transpose(1, 2)


def _strips(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor) -> Tensor:
    T, groups, K = q_BTHK.size(1), k_BTGK.size(2), q_BTHK.size(3)
    q_BGRTK = (q_BTHK / math.sqrt(K)).unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4)
    k_BGKS, v_BGSK = k_BTGK.permute(0, 2, 3, 1), v_BTGK.transpose(1, 2)
    strips = []
    for start in range(0, T, T // 4):
        end = start + T // 4
        scores = (q_BGRTK[..., start:end, :].flatten(2, 3) @ k_BGKS[..., :end]).unflatten(2, (-1, end - start)).float()
        mask_TS = torch.ones(end - start, end, dtype=torch.bool, device=scores.device).tril(start)
        shares = scores.masked_fill(~mask_TS, float("-inf")).softmax(dim=-1).to(v_BGSK.dtype)
        strips.append((shares.flatten(2, 3) @ v_BGSK[..., :end, :]).unflatten(2, (-1, end - start)))
    return torch.cat(strips, dim=3).permute(0, 3, 1, 2, 4).flatten(2, 3)


NAMES = {
    ".feed_forward.out.": ".down.",
    ".feed_forward.": ".",
    ".attention.": ".",
    "position.table": "places",
}
"""How a parameter of a composed model is called here."""


def as_written(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The values of a composed model under the names of this file."""
    found = {}
    for name, value in state.items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        found[name] = value
    return found
