"""A model in pieces: of every tensor each process holds some rows, and layers are put together as they are used.

With `torch.distributed.fsdp.fully_shard` (FSDP2), after Rajbhandari and others, 2020, "ZeRO: Memory Optimizations
Toward Training Trillion Parameter Models" (arXiv:1910.02054). Gradients are summed, not averaged: a loss is divided by
the tokens of the whole batch before. What an optimizer treats number by number is updated in pieces. What it has to see
whole, as Muon does a matrix, goes to one process that owns it, and comes back in pieces: so each matrix is made
orthogonal once, and all of them at the same time. Masters hold every number exactly once among the processes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lmmodel.architecture.roles import roles
from lmmodel.learning import float8
from lmmodel.learning.crew import Crew
from lmmodel.learning.families import OPTIMIZER
from lmmodel.learning.loss import Objective
from lmmodel.learning.rows import Rows, owners
from lmmodel.learning.weights import DTYPES, PRODUCTS, Weights
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model
    from lmmodel.learning.plan import Plan
    from lmmodel.params.kinds import Chosen


def held(model: Model, plan: Plan, optimizer: Chosen, crew: Crew) -> tuple[Objective, Weights]:
    """What is trained, and its weights: of `model` itself, or of a copy in pieces, where that is planned."""
    if plan.sharded:
        kind = OPTIMIZER.load(optimizer.kind, optimizer.file)
        piecemeal: Collection[str] = getattr(kind, "piecemeal", ())
        weights = Sharded(model, precision=plan.precision, device=plan.device, crew=crew, piecemeal=piecemeal)
        return weights.objective, weights
    objective = Objective(model.to(plan.device), precision=plan.precision)
    return objective, Weights(objective.model, precision=plan.precision, crew=crew)


class Sharded(Weights):
    """`masters`: of each learning parameter this process's rows, or all of it where it owns that, or nothing of it.

    `objective` is what is trained, on a copy of the given model, which has no weights until the training is settled.
    """

    def __init__(self, model: Model, *, precision: str, device: str, crew: Crew, piecemeal: Collection[str]) -> None:
        self.dtype, self.products, self.crew, self._given = DTYPES[precision], PRODUCTS[precision], crew, model
        self.objective = Objective(deepcopy(model))
        if precision == "float8":
            float8.narrow(self.objective.model)
        for parameter in model.parameters():
            parameter.data = parameter.data.new_empty(0)
        self._mesh = _cut(self.objective, device=device, dtype=self.dtype)
        self._parameters: dict[str, Any] = dict(self.objective.model.named_parameters())  # DTensors
        learning = {name: one for name, one in self._parameters.items() if one.requires_grad}
        role = roles(self.objective.model)
        whole = {name: one.numel() for name, one in learning.items() if role[name] not in piecemeal}
        shapes = {name: one.shape for name, one in learning.items()}
        self.rows = Rows(shapes, owners(whole, crew.size), crew, device=device)
        self.masters = {name: nn.Parameter(one.detach().to_local()) for name, one in learning.items()}
        wholes = self.rows.to_owners({name: self.masters[name].detach() for name in whole})
        self.masters |= {name: nn.Parameter(wholes.get(name, torch.empty(0, device=device))) for name in whole}

    def gather(self) -> None:
        """Gradients of further parts are added up where they lie."""

    def sum(self) -> None:
        """Give the masters the gradients of the whole batch, of which every process has its rows."""
        owned = {}
        for name, master in self.masters.items():
            gradient = self._parameters[name].grad
            if name in self.rows.owners:
                zeros = self._parameters[name].detach().to_local()
                owned[name] = torch.zeros_like(zeros) if gradient is None else gradient.to_local()
            elif gradient is not None and master.numel():
                master.grad = gradient.to_local()
        for name, gradient in self.rows.to_owners(owned).items():
            if self._parameters[name].grad is not None:
                self.masters[name].grad = gradient

    def norm(self, own: Tensor) -> Tensor:
        """Of all gradients, from that of the masters here."""
        return torch.tensor(math.sqrt(self.crew.totals(float(own) ** 2)[0]), device=own.device)

    @torch.no_grad()
    def publish(self) -> None:
        """Let the model compute with what the masters now are; their gradients are spent."""
        self._spread(self.masters)
        for name, master in self.masters.items():
            master.grad = self._parameters[name].grad = None

    def _spread(self, values: Mapping[str, Tensor]) -> None:
        """Hand what is owned here out in rows. What is held in rows anyway is the model's own memory."""
        owned = {name: values[name].detach() for name in self.rows.owners}
        for name, piece in self.rows.from_owners(owned).items():
            self._parameters[name].detach().to_local().copy_(piece)

    @torch.no_grad()
    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Take up values that were kept, of what is held here."""
        for name, master in self.masters.items():
            if name in values:
                master.copy_(values[name])
        self.publish()

    @contextmanager
    def at(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside, the model computes with `values`, by name, where there are any, and may be used part by part."""
        before = {name: self.masters[name].detach().clone() for name in values}
        root: Any = self.objective
        with torch.no_grad():
            self._take(values)
            root.unshard()
            try:
                yield
            finally:
                root.reshard()
                self._take(before)

    def _take(self, values: Mapping[str, Tensor]) -> None:
        if values:
            for name, value in values.items():
                self.masters[name].copy_(value)
            self._spread(self.masters)

    @torch.no_grad()
    def settle(self, values: Mapping[str, Tensor] = MappingProxyType({})) -> None:
        """Leave the given model in float32 with all that was learnt, on the processor: the end of training."""
        self._take(values)
        self.whole()

    def alone(self, objective: Objective, device: str) -> tuple[Objective, str]:
        """What this process can compute without the others, and where: all of the model, on the processor."""
        return Objective(self.whole()), "cpu"

    @torch.no_grad()
    def whole(self) -> Model:
        """The given model, with the weights as they are, on the processor; in every process."""
        for name, parameter in self._given.named_parameters():
            parameter.data = self._parameters[name].detach().full_tensor().cpu()
        buffers = dict(self.objective.model.named_buffers())
        for name, buffer in self._given.named_buffers():
            buffer.copy_(buffers[name])
        return self._given

    # --- what is kept on the way

    def pieces(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What all processes together keep, by path, from what each has: rows as parts of a whole, owned ones as such.

        The last word of a path is a parameter's name, or that of something that is the same everywhere.
        """
        return {
            path: self._part(path, tensor.detach()) if self._in_rows(path, tensor.dim()) else tensor.detach()
            for path, tensor in tensors.items()
            if self._is_here(path)
        }

    def template(self, path: str, size: torch.Size, dtype: torch.dtype) -> Tensor | None:
        """What to read into that which is kept as `path`, as much of it as this process holds; None: nothing."""
        if not self._in_rows(path, len(size)):
            return torch.empty(size, dtype=dtype) if self._is_here(path) else None
        rows = self.rows.own(_name(path))
        return self._part(path, torch.empty((rows.stop - rows.start, *size[1:]), dtype=dtype))

    def piece(self, path: str, whole: Tensor) -> Tensor | None:
        """What this process holds of something that was kept whole; None: nothing."""
        if self._in_rows(path, whole.dim()):
            return whole[self.rows.own(_name(path))].clone()
        return whole if self._is_here(path) else None

    def _in_rows(self, path: str, dimensions: int) -> bool:
        """Whether each process holds rows of it. A count, which has no dimension, is the same everywhere."""
        name = _name(path)
        return dimensions > 0 and name in self.rows.shapes and name not in self.rows.owners

    def _is_here(self, path: str) -> bool:
        return self.rows.owners.get(_name(path), self.crew.rank) == self.crew.rank

    def _part(self, path: str, rows: Tensor) -> Tensor:
        """These rows as a part of a whole."""
        from torch.distributed.tensor import DTensor, Shard

        shape = self.rows.shapes[_name(path)]
        return DTensor.from_local(rows, self._mesh, [Shard(0)], run_check=False, shape=shape, stride=_stride(shape))


def _cut(objective: Objective, *, device: str, dtype: torch.dtype) -> Any:
    """Cut the objective's model, layer by layer, moving each to `device` as it is cut; the mesh of all processes."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    for name, parameter in objective.model.named_parameters():
        if not parameter.dim():
            raise Refusal(f"launch.shard: {name} is one number without a dimension, and cannot be cut: make it [1]")
    mesh = init_device_mesh(device, (torch.distributed.get_world_size(),))
    narrow = None if dtype == torch.float32 else dtype
    told: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": MixedPrecisionPolicy(param_dtype=narrow, reduce_dtype=torch.float32, cast_forward_inputs=False),
    }
    for layer in (*objective.model.layers, *objective.model.ahead):
        fully_shard(layer, **told)
    fully_shard(objective, reshard_after_forward=False, **told)
    for module in objective.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return mesh


def _name(path: str) -> str:
    """The parameter that it is kept for; or that of a buffer."""
    return path.rpartition("/")[2]


def _stride(shape: torch.Size) -> tuple[int, ...]:
    """Of a tensor that lies in memory row by row."""
    return tuple(math.prod(shape[place + 1 :]) for place in range(len(shape)))
