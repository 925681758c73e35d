"""Adam in the eigenbasis of Shampoo for the hidden matrices, AdamW for embeddings and vectors.

Vyas and others, 2024, "SOAP: Improving and Stabilizing Shampoo using Adam" (arXiv:2409.11321), algorithm 3. Two running
means, of the gradient's products with itself from either side, say in which directions it varies; Adam's squares are
kept there. The basis follows every few steps by one power iteration made orthogonal, as in the paper. It lies in memory
row by row, as a saved state gives it back: products of narrow matrices round as these lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lmmodel.learning.beside import Beside, adamw
from lmmodel.learning.decay import Memory, counted
from lmmodel.params.settings import Count


class Options(Beside):
    """Per-weight steps of about `learning_rate`, as Adam's; `beta1` and `beta2` are the memories of mean and square.

    adamw_learning_rate: of embeddings and vectors. basis_steps: between two bases. longest_side: of a matrix; a longer
    side keeps its own directions, since a basis of it is a matrix of that side squared.
    """

    beta1: Memory = 0.95
    basis_steps: Count = 10
    longest_side: Count = 10_000


class Optimizer:
    """Two optimizers: `parts` are torch's, whose groups hold every parameter exactly once."""

    piecemeal: ClassVar[frozenset[str]] = frozenset({"embedding", "vector"})
    adamw_rates: ClassVar[tuple[str, ...]] = ("learning_rate", "adamw_learning_rate")

    def __init__(
        self, options: Options, parameters: Mapping[str, Sequence[nn.Parameter]], *, dtype: torch.dtype
    ) -> None:
        beside, matrices = adamw(options, parameters), list(parameters["matrix"])
        self.parts: tuple[torch.optim.Optimizer, ...] = (Turned(matrices, options), beside) if matrices else (beside,)


class Turned(torch.optim.Optimizer):
    """Adam on gradients that are turned into a basis, and back. A stack of matrices has a basis for each of them.

    The first gradient only gives a basis: nothing is updated by it.
    """

    def __init__(self, params: Iterable[nn.Parameter], options: Options) -> None:
        super().__init__(params, {"lr": options.learning_rate, "weight_decay": options.weight_decay})
        self.options = options

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if state:
                    update = self._update(state, parameter.grad)
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
                else:
                    self._begin(state, parameter.grad)

    def _begin(self, state: dict[str, Any], gradient: Tensor) -> None:
        state["momentum"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        for side, product in self._products(gradient):
            state[side] = product * (1 - self.options.beta2)
            state[f"{side}_basis"] = torch.linalg.eigh(product).eigenvectors.flip(-1).contiguous()

    def _update(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        beta1, beta2, number = self.options.beta1, self.options.beta2, counted(state)
        state["momentum"].lerp_(gradient, 1 - beta1)
        state["square"].lerp_(_into(state, gradient).square_(), 1 - beta2)
        size = (state["square"] / (1 - beta2**number)).sqrt_().add_(self.options.epsilon)
        update = _back(state, _into(state, state["momentum"]).div_(size)) / (1 - beta1**number)
        for side, product in self._products(gradient):
            state[side].lerp_(product, 1 - beta2)
            if number % self.options.basis_steps == 0:
                _follow(state, side)
        return update

    def _products(self, gradient: Tensor) -> list[tuple[str, Tensor]]:
        """The gradient times itself, from each side that is to have a basis."""
        rows, columns = gradient.shape[-2:]
        sides = (("left", rows, lambda: gradient @ gradient.mT), ("right", columns, lambda: gradient.mT @ gradient))
        return [(side, product()) for side, length, product in sides if length <= self.options.longest_side]


def _into(state: Mapping[str, Tensor], matrices: Tensor) -> Tensor:
    """`matrices` in the basis."""
    turned = state["left_basis"].mT @ matrices if "left" in state else matrices.clone()
    return turned @ state["right_basis"] if "right" in state else turned


def _back(state: Mapping[str, Tensor], turned: Tensor) -> Tensor:
    """What `_into` turned, as it was."""
    matrices = state["left_basis"] @ turned if "left" in state else turned
    return matrices @ state["right_basis"].mT if "right" in state else matrices


def _follow(state: dict[str, Any], side: str) -> None:
    """One power iteration of the basis of a side, the largest directions first; the squares keep to theirs."""
    product, basis = state[side], state[f"{side}_basis"]
    order = (basis * (product @ basis)).sum(-2).argsort(dim=-1, descending=True, stable=True)
    square = state["square"]
    along = order[..., None, :] if side == "right" else order[..., :, None]
    state["square"] = square.gather(-1 if side == "right" else -2, along.expand_as(square))
    basis = basis.gather(-1, order[..., None, :].expand_as(basis))
    state[f"{side}_basis"] = torch.linalg.qr(product @ basis).Q.contiguous()
