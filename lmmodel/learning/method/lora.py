"""A few numbers for each matrix: what is added to it is a product of a narrow and a flat one. The rest stands still.

Hu and others, 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685). The matrix alone is
computed as before, and alpha / rank times up @ down is added: nothing at first, since up begins at 0. At the end it is
added to the matrix itself, so the checkpoint is a model like any other, and as fast. Optimizer and saved states hold
the added matrices alone. Stacks of experts stay as they are.
"""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmmodel.params.refusal import Refusal, suggestion
from lmmodel.params.settings import Count, Listed, Positive, Settings, Words


class Options(Settings):
    """`rank`: of what is added; it counts alpha / rank times.

    parts: of each layer, whose linears are added to. matrices: their names, such as query; all where none is given.
    """

    rank: Count = 8
    alpha: Positive = 16.0
    parts: Annotated[tuple[Literal["attention", "feed_forward"], ...], Listed] = ("attention", "feed_forward")
    matrices: Words = ()


class Method:
    """The chosen linears with something to add, and nothing else that learns."""

    skips: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        self.options = options

    def prepare(self, model: nn.Module, *, seed: int) -> None:
        """Say which of the model's parameters learn: new ones. A Refusal where there is nothing to add to."""
        chosen = self._chosen(model)
        model.requires_grad_(False)
        for name in chosen:
            draw = torch.Generator().manual_seed(int.from_bytes(sha256(f"{seed}:{name}".encode()).digest()[:7], "big"))
            parent, _, last = name.rpartition(".")
            base = model.get_submodule(name)
            assert isinstance(base, nn.Linear)
            setattr(model.get_submodule(parent), last, LowRank(base, self.options, draw))

    def finish(self, model: nn.Module) -> None:
        """Add what was learnt to the matrices; the model is made as it was before."""
        for name, module in list(model.named_modules()):
            if isinstance(module, LowRank):
                parent, _, last = name.rpartition(".")
                setattr(model.get_submodule(parent), last, module.merged())
        model.requires_grad_(True)

    def _chosen(self, model: nn.Module) -> list[str]:
        """Names of linears within the parts."""
        inside = [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and any(f".{part}." in name for part in self.options.parts)
        ]
        known = sorted({name.rpartition(".")[2] for name in inside})
        for word in self.options.matrices:
            if word not in known:
                raise Refusal(
                    f"finetune.method.matrices '{word}' is not one of {', '.join(known)}{suggestion(word, known)}"
                )
        chosen = [n for n in inside if not self.options.matrices or n.rpartition(".")[2] in self.options.matrices]
        if not chosen:
            raise Refusal(f"finetune.method.parts: {' and '.join(self.options.parts) or 'nothing'} holds no linear")
        return chosen


class LowRank(nn.Module):
    """base(x) + alpha / rank * up(down(x))."""

    matrices: ClassVar[tuple[str, ...]] = ("down_RD", "up_FR")

    def __init__(self, base: nn.Linear, options: Options, draw: torch.Generator) -> None:
        super().__init__()
        self.base, self.scale = base, options.alpha / options.rank
        down_RD = torch.randn(options.rank, base.in_features, generator=draw) / math.sqrt(base.in_features)
        self.down_RD = nn.Parameter(down_RD)
        self.up_FR = nn.Parameter(torch.zeros(base.out_features, options.rank))

    @property
    def weight(self) -> Tensor:
        """For who multiplies by it without calling."""
        return self.base.weight + self.scale * (self.up_FR @ self.down_RD)

    @property
    def bias(self) -> Tensor | None:
        """The base's own."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """As the base, and what was learnt."""
        learnt: Tensor = F.linear(F.linear(x, self.down_RD), self.up_FR)
        return self.base(x) + self.scale * learnt

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The base with what was learnt in it."""
        self.base.weight.copy_(self.weight)
        return self.base
