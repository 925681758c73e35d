"""Two ways to put the same tokens to a model that must agree: where they part, by how much, and whose fault it is.

Each way is a list of passes, and every token of a pass has a number, the same in both ways: so a cache is held against
one long pass, a packed row against its documents alone, a row among others against the same row among strangers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lmmodel.architecture.model import Model, Trace


@dataclass(frozen=True)
class Pass:
    """Tokens and their numbers (-1: not compared); `select`: rows of the state to go on with, before the pass."""

    tokens_BT: Tensor
    numbers_BT: Tensor
    documents_BT: Tensor | None = None
    select: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Way:
    """Passes in their order; `capacity` of the state that they share, or None where each stands alone."""

    passes: tuple[Pass, ...]
    capacity: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Two ways that must agree on tokens numbered 0 to `total` - 1; `tell` says what number stands for.

    training: in the mode for training, in which a norm may look at the batch.
    """

    expected: Way
    actual: Way
    total: int
    tell: Callable[[int], str]
    training: bool = False


@dataclass(frozen=True)
class Parting:
    """Where two ways part: the first token's number, the largest difference there, and the module that is to blame."""

    number: int
    error: float
    module: str | None


class Broken(Exception):  # noqa: N818 - carries another exception, with the module that it came from
    """A model raised while it was compared."""

    def __init__(self, module: str | None, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.module = module


def compare(model: Model, comparison: Comparison, *, tolerance: float) -> Parting | None:
    """None where both ways agree within `tolerance` of the largest logit; Broken where the model raises."""
    model.train(comparison.training)
    try:
        expected = _outputs(model, comparison.expected, comparison.total)
        actual = _outputs(model, comparison.actual, comparison.total)
    except Exception as error:
        raise Broken(raised_in(model, error), error) from error
    errors = _errors(expected, actual)
    allowed = tolerance * max(1.0, float(expected.nan_to_num().abs().max()))
    wrong = (errors > allowed).nonzero().flatten()
    if not len(wrong):
        return None
    return Parting(int(wrong[0]), float(errors.max()), _blame(model, comparison, allowed))


def _outputs(model: Model, way: Way, total: int) -> Tensor:
    """All that the model predicts, [total, ...], in the order of the tokens' numbers."""
    result: Tensor | None = None
    with torch.no_grad():
        for step, trace in _traces(model, way):
            hidden = torch.stack([trace.hidden_BTD, *trace.ahead], dim=2)
            result = _filled(result, model.logits(hidden).flatten(2), step.numbers_BT, total)
    assert result is not None
    return result


def _traces(model: Model, way: Way, begin: Callable[[Pass], None] = lambda step: None) -> Iterator[tuple[Pass, Trace]]:
    """The passes of `way`, one by one; what is drawn at random is drawn alike on every way."""
    state = None if way.capacity is None else model.state(len(way.passes[0].tokens_BT), way.capacity)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for step in way.passes:
            if state is not None and step.select is not None:
                state = state.select(step.select)
            begin(step)
            yield step, model.trace(step.tokens_BT, documents_BT=step.documents_BT, state=state, ahead=True)


def _filled(whole: Tensor | None, values_BT: Tensor, numbers_BT: Tensor, total: int) -> Tensor:
    """`whole`, or a new one, with values put in place by number."""
    if whole is None:
        whole = values_BT.new_full((total, *values_BT.shape[2:]), float("nan"))
    whole[numbers_BT[numbers_BT >= 0]] = values_BT[numbers_BT >= 0]
    return whole


def _errors(expected: Tensor, actual: Tensor) -> Tensor:
    """The largest difference of each token; what is no number on one side alone is infinitely wrong."""
    same = (expected == actual) | (expected.isnan() & actual.isnan())
    difference = torch.where(same, 0.0, (expected - actual).abs().nan_to_num(float("inf")))
    return difference.flatten(1).amax(dim=1)


# -- whose fault ------------------------------------------------------------------------------------------------------


def raised_in(model: Model, error: Exception) -> str | None:
    """The name of the innermost module of `model` in which `error` was raised."""
    names = {module: name for name, module in model.named_modules()}
    found, trace = None, error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and names.get(owner):
            found = names[owner]
        trace = trace.tb_next
    return found


def _blame(model: Model, comparison: Comparison, allowed: float) -> str | None:
    """The first module, innermost first, that was given the same on both ways and gave something else."""
    expected = _recorded(model, comparison.expected, comparison.total)
    actual = _recorded(model, comparison.actual, comparison.total)
    for name, (given, gave) in expected.items():
        if name not in actual or actual[name][0].shape != given.shape or actual[name][1].shape != gave.shape:
            continue
        if _errors(given, actual[name][0]).max() <= allowed < _errors(gave, actual[name][1]).max():
            return name
    return None


def _recorded(model: Model, way: Way, total: int) -> dict[str, tuple[Tensor, Tensor]]:
    """What every module was given and gave, by token, in the order in which they finished."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    step: list[Pass] = []

    def note(name: str, given: Any, gave: Any) -> None:
        wanted, numbers_BT = step[-1].tokens_BT.shape, step[-1].numbers_BT
        if all(isinstance(x, Tensor) and x.dim() > 2 and x.shape[:2] == wanted for x in (given, gave)):
            x, y = found.get(name, (None, None))
            found[name] = (_filled(x, given, numbers_BT, total), _filled(y, gave, numbers_BT, total))

    def hook(name: str) -> Callable[..., None]:
        return lambda module, given, gave: note(name, given[0] if given else None, gave)

    hooks = [module.register_forward_hook(hook(name)) for name, module in model.named_modules() if name]
    with torch.no_grad():
        for _ in _traces(model, way, step.append):
            pass
    for handle in hooks:
        handle.remove()
    return found
