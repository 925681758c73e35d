"""A training step gone through before there is one: what it keeps alive at its worst, what it computes and moves.

The step is the real one, of the real model, loss and optimizer, with tensors that have shapes and no values wherever
computing would take longer. So parts of one's own are rehearsed like those that came with the project.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lmmodel.architecture.count import made
from lmmodel.architecture.declaration import Declaration, Layer, sorts
from lmmodel.architecture.initial import WithoutValues
from lmmodel.architecture.kernels import Watching, flops
from lmmodel.architecture.model import Model
from lmmodel.architecture.roles import roles
from lmmodel.learning.blame import tensors
from lmmodel.learning.dropout import Dropout
from lmmodel.learning.families import METHOD
from lmmodel.learning.judged import Judged
from lmmodel.learning.loss import Batch, Objective
from lmmodel.learning.settings import Finetune, Pretrain
from lmmodel.learning.uncompiled import without_compiler
from lmmodel.learning.update import Update
from lmmodel.learning.weights import Weights

_REALLY_RUN_FLOPS = 3e10
"""Up to which a step is really computed: that is faster than to load what avoids it."""
_MOST_LAYERS = 6
"""Up to which a step without values goes through all of them, and some more for each sort."""


@dataclass(frozen=True)
class Work:
    """What a processor does: floating-point operations of products, bytes that all kernels read and write, kernels."""

    flops: float = 0.0
    moved_bytes: float = 0.0
    kernels: float = 0.0

    def __add__(self, other: Work) -> Work:
        """Both, one after the other."""
        return Work(self.flops + other.flops, self.moved_bytes + other.moved_bytes, self.kernels + other.kernels)

    def times(self, often: float) -> Work:
        """The same so often."""
        return Work(self.flops * often, self.moved_bytes * often, self.kernels * often)


@dataclass(frozen=True)
class Rehearsal:
    """A step whose last part, of `sequences` rows, comes on top of gradients that are there already.

    learning: numbers that are updated. weights_bytes: masters too, where those that are computed with are others.
    optimizer_bytes: what is remembered of all steps before; an average of the weights, and the best of them, too.
    activation_bytes: what a part's backward pass finds; checkpointed_bytes: the same where a layer's input alone is
    kept, and one layer computed again. part_peak_bytes, update_peak_bytes: of all tensors alive at once, weights and
    optimizer among them. part, update: the work of one part, and of what comes once a step.
    """

    sequences: int
    learning: int
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activation_bytes: int
    checkpointed_bytes: int
    part_peak_bytes: int
    update_peak_bytes: int
    part: Work
    update: Work

    @property
    def peak_bytes(self) -> int:
        """Of the whole step."""
        return max(self.part_peak_bytes, self.update_peak_bytes)


def rehearse(
    declaration: Declaration, section: Pretrain | Finetune, *, precision: str, sequences: tuple[int, ...]
) -> tuple[Rehearsal, ...]:
    """Updates of the declared model on a processor, with the optimizer of `section`: one for each number of rows.

    A fine-tuning updates what its method teaches. Where layers are many, some of each sort are gone through, and the
    others are taken to be like them.
    """

    def some(layers: Sequence[Layer]) -> tuple[Rehearsal, ...]:
        fewer = declaration.model_copy(update={"layers": tuple(layers), "depth": len(layers), "names": ()})
        return _rehearsed(fewer, section, precision=precision, sequences=sequences)

    alike = sorts(declaration.layers)
    if not _is_large(declaration, max(sequences)) or declaration.depth <= _MOST_LAYERS + 2 * len(alike):
        return some(declaration.layers)
    few = [declaration.layers[number] for number, often in alike.items() for _ in range(min(2, often))]
    result = base = some(few)
    for number, often in alike.items():
        if (missing := often - 2) > 0:
            more = some([*few[:-1], *[declaration.layers[number]] * 2, few[-1]])
            result = tuple(_line(*three, missing / 2) for three in zip(result, more, base, strict=True))
    return result


def _rehearsed(
    declaration: Declaration, section: Pretrain | Finetune, *, precision: str, sequences: tuple[int, ...]
) -> tuple[Rehearsal, ...]:
    large = _is_large(declaration, max(sequences))
    quick = FakeTensorMode(allow_non_fake_inputs=True) if large else without_compiler()  # the first loads it anyway
    with quick, _Watch() as watch:
        step = _Step(declaration, section, precision, watch)
        return tuple(step.whole(rows) for rows in sequences)


def _line(start: Rehearsal, more: Rehearsal, base: Rehearsal, often: float) -> Rehearsal:
    """`start`, and so often what `more` has beyond `base`."""
    found: dict[str, Any] = {"sequences": start.sequences}
    for name in (field.name for field in fields(Rehearsal) if field.name != "sequences"):
        at, above, below = (getattr(one, name) for one in (start, more, base))
        if isinstance(at, Work):
            found[name] = at + (above + below.times(-1)).times(often)
        else:
            found[name] = round(at + (above - below) * often)
    return Rehearsal(**found)


def _is_large(declaration: Declaration, sequences: int) -> bool:
    with WithoutValues(), torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in Model(declaration).parameters())
    return 6 * parameters * declaration.context * sequences > _REALLY_RUN_FLOPS


class _Step:
    """What a training holds before its second step, and that step in its phases."""

    def __init__(self, declaration: Declaration, section: Pretrain | Finetune, precision: str, watch: _Watch) -> None:
        self.watch, self.context = watch, declaration.context
        self.model = _prepared(made(declaration), section)
        self.weights = Weights(self.model, precision=precision)
        self.weights_bytes = watch.live
        self.update = Update(
            self.weights.masters,
            roles=roles(self.model),
            optimizer=section.optimizer,
            schedule=section.schedule,
            clip=section.clip,
            dtype=self.weights.products,
        )
        ema, stopping = section.ema, section.early_stopping
        self.judged = Judged(self.model, self.weights, self.update, ema=ema, early_stopping=stopping)
        self.dropout = Dropout(self.model, section.dropout)
        self.objective = Objective(self.model, precision=precision)
        self._part(1, tokens=2)
        self._finish()
        self.judged.note([{"validation_loss_nats": 0.0}])

    def whole(self, sequences: int) -> Rehearsal:
        """A later step: a part of hardly any tokens, so that there are gradients, and one of `sequences`."""
        watch, before = self.watch, self.watch.live
        self._part(1, tokens=2)
        gradients_bytes = watch.live - before
        watch.begin()
        with _by_layer(self.model, watch) as kept:
            activation_bytes = self._part(sequences, tokens=self.context)
        part, part_peak_bytes = watch.begin()
        self._finish()
        update, update_peak_bytes = watch.begin()
        again = sum(held - output for held, output in kept) - max((held for held, _ in kept), default=0)
        return Rehearsal(
            sequences=sequences,
            learning=sum(master.numel() for master in self.weights.masters.values()),
            weights_bytes=self.weights_bytes,
            gradients_bytes=gradients_bytes,
            optimizer_bytes=before - self.weights_bytes,
            activation_bytes=activation_bytes,
            checkpointed_bytes=min(activation_bytes, activation_bytes - again),
            part_peak_bytes=part_peak_bytes,
            update_peak_bytes=update_peak_bytes,
            part=part,
            update=update,
        )

    def _part(self, sequences: int, *, tokens: int) -> int:
        """Gradients of some rows, as the training loop takes them; what there is to be kept for the backward pass."""
        before = self.watch.live
        tokens_BT = torch.zeros(sequences, tokens, dtype=torch.int64)
        weights_BT = torch.ones(sequences, tokens)
        with self.dropout.at_work():
            losses = self.objective(Batch(tokens_BT, tokens_BT.clone(), None, weights_BT))
        kept = self.watch.live - before
        (losses.total / float(sequences * tokens)).backward()
        self.weights.gather()
        return kept

    def _finish(self) -> None:
        self.update.apply(0.5, self.update.norm())
        self.weights.publish()
        self.judged.follow(1)


def _prepared(model: Model, section: Pretrain | Finetune) -> Model:
    """With those weights learning that a fine-tuning's method teaches."""
    if isinstance(section, Finetune):
        method = section.method
        METHOD.load(method.kind, method.file)(method.options).prepare(model, seed=0)
    return model


@contextmanager
def _by_layer(model: Model, watch: _Watch) -> Iterator[list[tuple[int, int]]]:
    """Of each layer that is gone through inside: bytes that it leaves alive, and those of its output."""
    entered: list[int] = []
    kept: list[tuple[int, int]] = []

    def leave(module: nn.Module, given: Any, gave: Tensor) -> None:
        kept.append((watch.live - entered.pop(), gave.numel() * gave.element_size()))

    with ExitStack() as stack:
        for layer in [*model.layers, *model.ahead]:
            stack.callback(layer.register_forward_pre_hook(lambda *_: entered.append(watch.live)).remove)
            stack.callback(layer.register_forward_hook(leave).remove)
        yield kept


# -- what is watched --------------------------------------------------------------------------------------------------


class _Watch(Watching):
    """Sees every kernel: bytes of the storages that are alive and their maximum, and the work that is done."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.work = Work()
        self._known: dict[int, weakref.ref[Any]] = {}

    def begin(self) -> tuple[Work, int]:
        """Start anew: the work since the last time, and the largest number of bytes alive meanwhile."""
        done = self.work, self.peak
        self.work, self.peak = Work(), self.live
        return done

    def see(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """One operation, noted."""
        outputs = list(tensors(result))
        for tensor in outputs:
            self._meet(tensor.untyped_storage())
        if not function.is_view and function.namespace != "prim":
            inputs = tensors((args, list(kwargs.values())))
            moved = sum(tensor.numel() * tensor.element_size() for tensor in (*inputs, *outputs))
            self.work += Work(flops(function, args, kwargs, result), moved, 1)

    def _meet(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._known or not (size := storage.nbytes()):
            return
        self.live += size
        self.peak = max(self.peak, self.live)
        self._known[key] = weakref.ref(storage, self._leave(key, size))

    def _leave(self, key: int, size: int) -> Callable[[Any], None]:
        def gone(_: Any) -> None:
            del self._known[key]
            self.live -= size

        return gone
