"""Momentum made orthogonal for the hidden matrices, AdamW for embeddings and vectors.

Jordan and others, 2024, "Muon: An optimizer for hidden layers in neural networks"; the coefficients are theirs. An
update whose singular values are all about 1 moves every direction of a matrix alike. Equal to `torch.optim.Muon` with
AdamW beside it, but matrices of one shape are made orthogonal together, stacks of them (experts) too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lmmodel.learning.beside import Beside, adamw
from lmmodel.learning.decay import Memory
from lmmodel.params.settings import Count, Positive


class Options(Beside):
    """`learning_rate` is the size of a square matrix's update, in spectral norm.

    adamw_learning_rate: of embeddings and vectors. weight_decay: of matrices; embeddings decay with
    adamw_weight_decay. iterations: of Newton and Schulz, towards orthogonal.
    """

    learning_rate: Positive = 0.02
    momentum: Memory = 0.95
    iterations: Count = 5


class Optimizer:
    """Two optimizers: `parts` are torch's, whose groups hold every parameter exactly once."""

    piecemeal: ClassVar[frozenset[str]] = frozenset({"embedding", "vector"})
    adamw_rates: ClassVar[tuple[str, ...]] = ("adamw_learning_rate",)

    def __init__(
        self, options: Options, parameters: Mapping[str, Sequence[nn.Parameter]], *, dtype: torch.dtype
    ) -> None:
        beside, matrices = adamw(options, parameters), list(parameters["matrix"])
        self.parts: tuple[torch.optim.Optimizer, ...] = (beside,)
        if matrices:
            self.parts = (Orthogonal(matrices, options, dtype=dtype), beside)


class Orthogonal(torch.optim.Optimizer):
    """Nesterov momentum whose every matrix is replaced by the nearest orthogonal one, approximately."""

    def __init__(self, params: Iterable[nn.Parameter], options: Options, *, dtype: torch.dtype) -> None:
        defaults: dict[str, Any] = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
        super().__init__(params, defaults)
        self.momentum, self.iterations, self.dtype = options.momentum, options.iterations, dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            learning = [parameter for parameter in group["params"] if parameter.grad is not None]
            for alike in _alike(learning):
                updates = orthogonal(
                    torch.cat([_flat(self._moved(parameter)) for parameter in alike]), self.iterations, self.dtype
                )
                for parameter, update in zip(alike, _split(updates, alike), strict=True):
                    rows, columns = parameter.shape[-2:]
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"] * max(1, rows / columns) ** 0.5)

    def _moved(self, parameter: nn.Parameter) -> Tensor:
        """The gradient looked at one step ahead of its momentum."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - self.momentum)
        return gradient.lerp(state["momentum"], self.momentum)


def orthogonal(x_NRC: Tensor, iterations: int, dtype: torch.dtype) -> Tensor:
    """Matrices [N, R, C], R at most C, with singular values pulled to about 1, by products in `dtype` alone."""
    a, b, c = 3.4445, -4.7750, 2.0315  # of the quintic a x + b x^3 + c x^5, steep at 0
    x_NRC = x_NRC.to(dtype)
    x_NRC = x_NRC / x_NRC.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        square_NRR = x_NRC @ x_NRC.mT
        polynomial_NRR = torch.baddbmm(square_NRR, square_NRR, square_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, polynomial_NRR, x_NRC, beta=a)
    return x_NRC


def _alike(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters whose matrices, lain on their long side, have one shape."""
    groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(tuple(sorted(parameter.shape[-2:])), []).append(parameter)
    return list(groups.values())


def _flat(matrices: Tensor) -> Tensor:
    """[N, R, C] with R at most C, of a matrix or a stack."""
    lain = matrices if matrices.size(-2) <= matrices.size(-1) else matrices.mT
    return lain.reshape(-1, *lain.shape[-2:])


def _split(updates_NRC: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Each parameter's own of the updates that `_flat` made, in its shape."""
    counts = [parameter.shape[:-2].numel() for parameter in parameters]
    return [
        (own if parameter.size(-2) <= parameter.size(-1) else own.mT).reshape(parameter.shape)
        for own, parameter in zip(updates_NRC.split(counts), parameters, strict=True)
    ]
