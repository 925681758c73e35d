"""Turns pairs of a query's and a key's numbers by an angle that grows with the place: their product sees the distance.

Su and others, 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding". Numbers are paired as in Hugging
Face's Llama, the first half with the second, so that weights map one to one; a fraction below 1 leaves the last ones
as they are, as in GPT-NeoX.

To reach beyond the context of an earlier training, slow pairs are slowed down. By interpolation: Chen and others, 2023,
"Extending Context Window of Large Language Models via Positional Interpolation"; by a larger theta: bloc97, 2023,
"NTK-Aware Scaled RoPE"; pair by pair: Peng and others, 2023, "YaRN: Efficient Context Window Extension of Large
Language Models", and Llama 3.1 (Grattafiori and others, 2024, "The Llama 3 Herd of Models").
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lmmodel.architecture.once import once, stored
from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Count, Fraction, Positive, Settings

_TOLD = {
    "none": (),
    "linear": ("factor",),
    "ntk": ("factor",),
    "yarn": ("factor", "original_context", "slow_turns", "fast_turns", "attention_factor"),
    "yarn_untruncated": ("factor", "original_context", "slow_turns", "fast_turns", "attention_factor"),
    "llama3": ("factor", "original_context", "slow_turns", "fast_turns"),
}
_FAST_TURNS = {"yarn": 32.0, "yarn_untruncated": 32.0, "llama3": 4.0}


class Options(Settings):
    """Pair i of n turns by theta ** (-i / n) radians a place; `fraction` of each head turns.

    scaling: how a context `factor` times as long as original_context is reached (8 where neither is given; one follows
    from the other). linear: all pairs turn so much slower. ntk: theta grows, until the slowest pair does. yarn, llama3:
    pairs that turn less than slow_turns times (1) within the original context are slowed, those that turn more than
    fast_turns times (32, 4) are not, with a ramp between, which yarn lets begin and end at whole pairs and
    yarn_untruncated where it falls. attention_factor: of what turned; 0.1 ln(factor) + 1.
    """

    theta: Positive = 10_000.0
    fraction: Fraction = 1.0
    scaling: Literal["none", "linear", "ntk", "yarn", "yarn_untruncated", "llama3"] = "none"
    factor: Positive | None = None
    original_context: Count | None = None
    slow_turns: Positive | None = None
    fast_turns: Positive | None = None
    attention_factor: Positive | None = None

    def complete(self, sizes: Sizes) -> Options:
        """With numbers for all that `scaling` takes; ValueError for what it does not, and for what turns no pairs."""
        width = sizes.head_width * self.fraction
        if width != int(width) or int(width) % 2 or not width:
            raise ValueError(
                f"turns pairs of numbers, but fraction {self.fraction:g} of head width "
                f"{sizes.head_width} is {width:g}, which is not an even number"
            )
        takes = _TOLD[self.scaling]
        for name in _TOLD["yarn"]:
            if getattr(self, name) is not None and name not in takes:
                raise ValueError(f"has scaling '{self.scaling}', on which {name} has no effect")
        filled = self._filled(sizes.context)
        if self.scaling in _FAST_TURNS and filled["slow_turns"] >= filled["fast_turns"]:
            raise ValueError(f"has slow_turns {filled['slow_turns']:g}, not below fast_turns {filled['fast_turns']:g}")
        if takes and filled["factor"] < 1:
            raise ValueError(
                f"has scaling '{self.scaling}' to a context {filled['factor']:g} times as long as before, which is for "
                "at least 1: say a larger factor, or scaling: none"
            )
        if self.scaling.startswith("yarn") and self.theta <= 1:  # it divides by the logarithm of theta
            raise ValueError(f"has scaling '{self.scaling}', for which theta {self.theta:g} should be above 1")
        return self.model_copy(update={name: filled[name] for name in takes})

    def _filled(self, context: int) -> dict[str, float]:
        factor = self.factor or (context / self.original_context if self.original_context else 8.0)
        return {
            "factor": factor,
            "original_context": self.original_context or max(1, round(context / factor)),
            "slow_turns": self.slow_turns or 1.0,
            "fast_turns": self.fast_turns or _FAST_TURNS.get(self.scaling, 0.0),
            "attention_factor": self.attention_factor or max(1.0, 0.1 * math.log(factor) + 1),
        }


class Position(nn.Module):
    """Acts on queries and keys, each head alike."""

    acts_on: ClassVar[str] = "queries and keys"
    bias = None

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.told, self.fraction = options.complete(sizes), options.fraction

    def embed(self, x_BTD: Tensor, positions_BT: Tensor) -> Tensor:
        """The identity."""
        return x_BTD

    def rotate(self, x_BTHK: Tensor, positions_BT: Tensor) -> Tensor:
        """`x_BTHK` turned; the angles are in float32 or wider, whatever `x_BTHK` is."""
        turned = int(x_BTHK.size(-1) * self.fraction)
        pairs, wide = turned // 2, torch.promote_types(x_BTHK.dtype, torch.float32)
        cos_BT1P, sin_BT1P = once(
            positions_BT, (self.told, pairs, wide), lambda: self._table(positions_BT, pairs, wide)
        )
        first, second, rest = x_BTHK.split([pairs, pairs, x_BTHK.size(-1) - turned], dim=-1)
        parts = (first * cos_BT1P - second * sin_BT1P, second * cos_BT1P + first * sin_BT1P, rest)
        return torch.cat([part.to(x_BTHK.dtype) for part in parts if part.size(-1)], dim=-1)

    def _table(self, positions_BT: Tensor, pairs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        exponents_P = torch.arange(pairs, device=positions_BT.device, dtype=dtype) / pairs
        angles_BT1P = positions_BT[:, :, None, None] * _FREQUENCIES[self.told.scaling](self.told, exponents_P)
        cos_BT1P, sin_BT1P = angles_BT1P.cos(), angles_BT1P.sin()
        if self.told.attention_factor is not None:
            cos_BT1P, sin_BT1P = cos_BT1P * self.told.attention_factor, sin_BT1P * self.told.attention_factor
        return stored(cos_BT1P), stored(sin_BT1P)


def _plain(told: Options, exponents_P: Tensor) -> Tensor:
    return 1.0 / told.theta**exponents_P


def _linear(told: Options, exponents_P: Tensor) -> Tensor:
    return _plain(told, exponents_P) / (told.factor or 1.0)


def _ntk(told: Options, exponents_P: Tensor) -> Tensor:
    pairs = exponents_P.size(0)
    theta = told.theta * (told.factor or 1.0) ** (pairs / (pairs - 1)) if pairs > 1 else told.theta
    return 1.0 / theta**exponents_P


def _yarn(told: Options, exponents_P: Tensor) -> Tensor:
    pairs = exponents_P.size(0)
    fast, slow = (
        pairs * math.log((told.original_context or 1) / ((turns or 1.0) * 2 * math.pi)) / math.log(told.theta)
        for turns in (told.fast_turns, told.slow_turns)
    )
    if told.scaling == "yarn":
        fast, slow = math.floor(fast), math.ceil(slow)
    first, last = max(fast, 0), min(slow, 2 * pairs - 1)
    places_P = torch.arange(pairs, device=exponents_P.device, dtype=exponents_P.dtype)
    ramp_P = ((places_P - first) / (last - first if last != first else 0.001)).clamp(0, 1)
    kept_P, periods_P = 1 - ramp_P, told.theta**exponents_P
    return 1.0 / ((told.factor or 1.0) * periods_P) * (1 - kept_P) + 1.0 / periods_P * kept_P


def _llama3(told: Options, exponents_P: Tensor) -> Tensor:
    context, factor = told.original_context or 1, told.factor or 1.0
    slow, fast = told.slow_turns or 1.0, told.fast_turns or 4.0
    plain_P = _plain(told, exponents_P)
    lengths_P = 2 * math.pi / plain_P
    share_P = (context / lengths_P - slow) / (fast - slow)
    between_P = (1 - share_P) * plain_P / factor + share_P * plain_P
    slowed_P = torch.where(lengths_P > context / slow, plain_P / factor, plain_P)
    return torch.where((lengths_P < context / fast) | (lengths_P > context / slow), slowed_P, between_P)


_FREQUENCIES = {
    "none": _plain,
    "linear": _linear,
    "ntk": _ntk,
    "yarn": _yarn,
    "yarn_untruncated": _yarn,
    "llama3": _llama3,
}
