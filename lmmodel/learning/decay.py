"""What optimizers have in common: the bounds of their options, which parameters decay, and how they count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from lmmodel.params.settings import Fraction, Real

if TYPE_CHECKING:
    from torch import nn

Decay = Annotated[Real, Field(ge=0)]
"""Of a weight in one step, times the learning rate."""
Memory = Annotated[Fraction, Field(lt=1)]
"""What of a running mean is kept from one step to the next."""


def groups(parameters: Mapping[str, Sequence[nn.Parameter]], *roles: str, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters of `roles`, which decay, and the vectors (norms, biases), which do not.

    Pulling a gain towards 0 is not what weight decay is for.
    """
    decaying = [parameter for role in roles for parameter in parameters[role]]
    return [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": list(parameters["vector"]), "weight_decay": 0.0},
    ]


def counted(state: dict[str, Any]) -> int:
    """The number of this update, from 1; kept in `state` as a tensor, as all that has to survive a kill is."""
    import torch

    number = int(state.get("step", 0)) + 1
    state["step"] = torch.tensor(float(number))
    return number
