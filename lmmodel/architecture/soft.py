"""Whether a declared design looks healthy: the soft checks, which are reported and stop no pipeline.

They look at the design as it starts, with its own initial values; where a number is a matter of degree it is doubtful
first, and failed only where nobody can mean it. What shows only in training is in `lmmodel/learning/proof.py`.

    first loss   an untrained model knows nothing: ln V      depth   neither stream nor gradients run away with depth
    bfloat16     close to float32                            seed    the same seed, the same bytes; nothing at random
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container, Iterator
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from lmmodel.architecture import probes
from lmmodel.architecture.causes import AT_RANDOM, CAUSES
from lmmodel.architecture.check import length, redrawn, reduced
from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.finding import Doubtful, Failed, Finding, find
from lmmodel.architecture.model import Model, build

_DEEP = 24
_DEEP_PARAMETERS = 3e7  # of a stack that is built to see how it scales
_DOUBTFUL_GROWTH, _FAILED_GROWTH = 10, 100  # over half of the layers; sound designs stay below 2, hybrids below 9
_DOUBTFUL_ERROR, _FAILED_ERROR = 0.05, 0.3  # of bfloat16; sound designs stay below 0.015


def soft(declaration: Declaration, *, only: Container[str] | None = None) -> Iterator[Finding]:
    """A finding for each soft check (those in `only`), one by one; none where the model cannot be built."""
    small = reduced(declaration)
    try:
        model = build(small, seed=0)
    except Exception:  # the hard checks say why
        return
    for name, check in SOFT.items():
        if only is None or name in only:
            yield find(name, partial(check, model, declaration), model, cause=CAUSES[name])


def _first_loss(model: Model, declaration: Declaration) -> str:
    """On random tokens, which nobody can guess."""
    tokens_BT = probes.tokens(model, rows=4, length=length(model))
    with torch.no_grad():
        logits_BTV = model.eval()(tokens_BT)
    nats = F.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), tokens_BT[:, 1:].flatten()).item()
    expected = math.log(model.declaration.vocab_size)
    told = f"{nats:.2f} nats, ln V is {expected:.2f}"
    if not nats < 2 * expected + 1:
        raise Failed(told)
    if abs(nats - expected) > 0.15 * expected + 0.1:
        raise Doubtful(told)
    return told


# -- depth ------------------------------------------------------------------------------------------------------------


def _depth(model: Model, declaration: Declaration) -> str:
    """The size of the stream after each layer, and of its gradient in proportion, over the last half of a stack."""
    deep = build(_stacked(declaration, model), seed=0)
    sizes, gradients = _sizes(deep)
    told = f"{sizes[0]:.2g} to {sizes[-1]:.2g} over {len(sizes)} layers"
    if not all(math.isfinite(size) for size in (*sizes, *gradients)):
        raise Failed(f"{told}; not all numbers, or their gradients, are finite")
    _hold("the stream", sizes, told)
    weighed = [size * gradient for size, gradient in zip(sizes, gradients, strict=True)]
    back = f"{told}; gradients on their way back, in proportion, {weighed[-1]:.2g} to {weighed[0]:.2g}"
    _hold("the gradient", weighed[::-1], back)
    return told


def _hold(what: str, sizes: list[float], told: str) -> None:
    """Raise where `sizes` grow or shrink over the second half faster than a sound stack's."""
    half = sizes[(len(sizes) - 1) // 2 :]
    if len(half) < 2 or not any(sizes):
        return
    growth = max(half[-1], 1e-30) / max(half[0], 1e-30)
    extent = max(growth, 1 / growth)
    if extent < _DOUBTFUL_GROWTH:
        return
    steps = [math.log(max(after, 1e-30) / max(before, 1e-30)) for before, after in pairwise(half)]
    mean = math.exp(sum(steps) / len(steps))
    refusal = Failed if extent >= _FAILED_GROWTH else Doubtful
    raise refusal(f"{told}: each layer multiplies {what} by {mean:.3g}")


def _stacked(declaration: Declaration, model: Model) -> Declaration:
    """The declared layers over and over, to 24 of them or as many as are quickly built."""
    each = max(1, sum(parameter.numel() for parameter in model.layers.parameters()) // len(model.layers))
    depth = max(len(model.layers), min(max(_DEEP, declaration.depth), int(_DEEP_PARAMETERS / each)))
    layers = tuple(declaration.layers[number % declaration.depth] for number in range(depth))
    told = {"layers": layers, "depth": depth, "names": tuple(f"layer {number}" for number in range(depth))}
    return model.declaration.model_copy(update=told)


def _sizes(model: Model) -> tuple[list[float], list[float]]:
    """Root mean squares of the stream after each layer, and of the gradient there."""
    sizes: list[float] = []
    gradients: list[float] = []

    def note(module: object, given: object, gave: Tensor) -> None:
        sizes.append(gave.detach().square().mean().sqrt().item())
        gave.register_hook(lambda gradient: gradients.append(gradient.square().mean().sqrt().item()))

    for layer in model.layers:
        layer.register_forward_hook(note)
    tokens_BT = probes.tokens(model, rows=1, length=64)
    logits_BTV = model(tokens_BT)
    F.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), tokens_BT[:, 1:].flatten()).backward()
    return sizes, gradients[::-1]


# -- numbers ----------------------------------------------------------------------------------------------------------


def _bfloat16(model: Model, declaration: Declaration) -> str:
    """All parameters redrawn. Judged by the token that three quarters do better than: routing may flip for a few."""
    wide = redrawn(copy.deepcopy(model)).eval()
    tokens_BT = probes.tokens(model, rows=2, length=length(model))
    with torch.no_grad():
        expected_BTV = wide(tokens_BT)
        narrow_BTV = copy.deepcopy(wide).to(torch.bfloat16)(tokens_BT)
    if narrow_BTV.dtype != torch.bfloat16:
        raise Failed(f"weights are bfloat16, and predictions come out in {narrow_BTV.dtype}")
    if not narrow_BTV.isfinite().all():
        raise Failed("predictions are not finite")
    error_BT = (narrow_BTV.float() - expected_BTV).norm(dim=-1) / expected_BTV.norm(dim=-1)
    error = error_BT.flatten().quantile(0.75).item()
    told = f"within {100 * error:.2g} % of float32"
    if error > _DOUBTFUL_ERROR:
        raise (Failed if error > _FAILED_ERROR else Doubtful)(f"{told} only")
    return told


def _seed(model: Model, declaration: Declaration) -> str:
    """Built twice, whatever the global generator says; and the same tokens put twice to one model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        other = build(model.declaration, seed=0)
    values = other.state_dict()
    for name, value in model.state_dict().items():
        if not torch.equal(value, values[name]):
            raise Failed(f"{name} is not the same when built again with the same seed", name.rpartition(".")[0])
    tokens_BT = probes.tokens(model, rows=2, length=length(model))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        one_BTV, other_BTV = (model.eval()(tokens_BT) for _ in range(2))
    if not torch.equal(one_BTV, other_BTV):
        raise Failed(f"the same tokens twice differ by {(one_BTV - other_BTV).abs().max():.2g}", cause=AT_RANDOM)
    return "the same bytes twice, initial values and predictions"


SOFT: dict[str, Callable[[Model, Declaration], str]] = {
    "first loss": _first_loss,
    "depth": _depth,
    "bfloat16": _bfloat16,
    "seed": _seed,
}
