"""A loss that jumps: noticed against the steps before it, and traced to a module and to a row of the batch.

A loss is a spike where it stands out of the last ones by six of their deviations, taken from medians, which the spike
itself does not move (Hampel, 1974, "The Influence Curve and its Role in Robust Estimation"). What did it is found by
comparison: the batch once more, beside the one before it, with the same weights. What is learnt stays as it is.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lmmodel.learning.blame import tensors
from lmmodel.learning.loss import Batch, Losses

WINDOW, FEWEST = 50, 20
"""Of the last losses, so many are looked at; before there are so many nothing stands out."""
_DEVIATIONS, _LEAST = 6.0, 0.05  # of the median: what is less is no jump, however calm the losses were
_NORMAL = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
_GROWN = 2.0


class Spikes:
    """Told every loss, in nats a token, says which stand out."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=WINDOW)

    def seen(self, loss_nats: float) -> float | None:
        """The median of those before, where this one is a spike."""
        before = list(self._last)
        self._last.append(loss_nats)
        if len(before) < FEWEST:
            return None
        median = statistics.median(before)
        deviation = _NORMAL * statistics.median(abs(loss - median) for loss in before)
        return median if loss_nats > median + max(_DEVIATIONS * deviation, _LEAST * median) else None


class Traced(NamedTuple):
    """A module whose output grew, in words, and the row of the batch that cost most, with its nats a token."""

    cause: str
    row: int
    row_nats: float


def traced(
    objective: Callable[[Batch], Losses],
    model: nn.Module,
    parts: Iterable[Batch],
    before: Iterable[Batch],
    *,
    usual_nats: float,
) -> Traced:
    """What sets a batch that comes in `parts` apart from the one `before` it: without gradients, row by row.

    Nothing does where that one, too, costs more than is usual by now: then the last update is to blame.
    """
    found, usual = _sizes(objective, model, parts), _sizes(objective, model, before)
    ratios = {name: size / usual.sizes[name] for name, size in found.sizes.items() if usual.sizes.get(name)}
    first = next((name for name, ratio in ratios.items() if ratio >= _GROWN), None)
    row = max(range(len(found.rows)), key=found.rows.__getitem__)
    nats, before_nats = statistics.fmean(found.rows), statistics.fmean(usual.rows)
    cause = "no module's output grew: it is the text"
    if before_nats > (usual_nats + nats) / 2:
        cause = f"the batch before it costs {before_nats:.2f} now: it is the last update"
    elif first is not None:
        kind = type(model.get_submodule(first)).__module__
        cause = f"the output of {first} ({kind}) is the first that grew, to {ratios[first]:.1f} times its size"
    return Traced(cause, row, found.rows[row])


class _Sizes(NamedTuple):
    """Of each module's output the root mean square, in the order in which they end; nats a token of each row."""

    sizes: dict[str, float]
    rows: list[float]


@torch.no_grad()
def _sizes(objective: Callable[[Batch], Losses], model: nn.Module, parts: Iterable[Batch]) -> _Sizes:
    sums: dict[str, list[float]] = {}
    hooks = [module.register_forward_hook(_watch(name, sums)) for name, module in model.named_modules() if name]
    rows = []
    try:
        for part in parts:
            for row in range(len(part.tokens_BT)):
                own = slice(row, row + 1)
                alone = Batch(**{name: value[own] for name, value in part._asdict().items() if value is not None})
                losses = objective(alone)
                rows.append(float(losses.nats) / max(1.0, float(losses.tokens)))
    finally:
        for hook in hooks:
            hook.remove()
    return _Sizes({name: math.sqrt(total / count) for name, (total, count) in sums.items()}, rows)


def _watch(name: str, sums: dict[str, list[float]]) -> Callable[[nn.Module, Any, Any], None]:
    def look(module: nn.Module, given: Any, gave: Any) -> None:
        for tensor in tensors(gave):
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                total = sums.setdefault(name, [0.0, 0.0])
                total[0] += float(tensor.float().square().sum())
                total[1] += tensor.numel()

    return look
