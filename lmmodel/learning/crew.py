"""Processes that train one model together: each takes its rows of every batch, and what they find is summed.

All hold the same weights and make the same updates, since sums come out the same in each; the first alone writes. With
gloo on processors; gradients go by nccl between GPUs. A crew of one is a training like any other, to the byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from lmmodel.text.batches import TokenBatch

BUCKET_NUMBERS = 2**24
"""Of gradients, summed at once."""
_Told = TypeVar("_Told")


class Crew:
    """Process `rank` of `size`. Every method is called by all of them, in one order."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and reports."""
        return self.rank == 0

    def rows(self, count: int) -> slice:
        """This process's of a batch's `count` rows."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def turns(self, batches: Iterable[TokenBatch]) -> Iterator[TokenBatch]:
        """Every `size`-th of `batches`; as many for each process, the last of them counting 0 where one is missing."""
        found = iter(batches)
        while group := list(islice(found, self.size)):
            short = self.rank >= len(group)
            batch = group[-1 if short else self.rank]
            yield batch._replace(weights_BT=np.zeros(batch.tokens_BT.shape, dtype=np.float32)) if short else batch

    def totals(self, *numbers: float) -> list[float]:
        """Each number summed over the processes, in float64."""
        if self.size == 1:
            return list(numbers)
        return self._summed(torch.tensor(numbers, dtype=torch.float64)).tolist()

    def anywhere(self, *facts: bool) -> list[bool]:
        """Whether each is so in some process."""
        return [total > 0 for total in self.totals(*map(float, facts))]

    def reports(self, reports: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What components reported, summed; whole numbers stay exact."""
        if self.size == 1 or not reports:
            return dict(reports)
        names = sorted(reports)
        flat = torch.cat([reports[name].detach().cpu().double().flatten() for name in names])
        parts = self._summed(flat).split([reports[name].numel() for name in names])
        return {name: part.view_as(reports[name]).to(reports[name]) for name, part in zip(names, parts, strict=True)}

    @torch.no_grad()
    def gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients, bucket by bucket; one that no process has stays away."""
        if self.size == 1:
            return
        for bucket in _buckets(parameters):
            there = torch.tensor([parameter.grad is not None for parameter in bucket], dtype=bucket[0].dtype)
            zeros = (torch.zeros_like(one) if one.grad is None else one.grad for one in bucket)
            flat = self._summed(torch.cat([*(grad.flatten() for grad in zeros), there.to(bucket[0].device)]))
            *sums, there = flat.split([*(one.numel() for one in bucket), len(bucket)])
            for parameter, total, count in zip(bucket, sums, there.tolist(), strict=True):
                parameter.grad = total.view_as(parameter) if count else None

    def told(self, value: _Told) -> _Told:
        """The first process's `value`."""
        if self.size == 1:
            return value
        box = [value]
        with self.reached():
            torch.distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def said(self, value: _Told) -> list[_Told]:
        """Every process's `value`, in their order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self.reached():
            torch.distributed.all_gather_object(values, value)
        return values

    def tensors(self, tensors: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
        """The first process's `tensors`, on the processor; None where it has None."""
        shapes = self.told(None if tensors is None else {name: (one.shape, one.dtype) for name, one in tensors.items()})
        if shapes is None or self.size == 1:
            return None if tensors is None else dict(tensors)
        own = tensors or {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in shapes.items()}
        for name in shapes:
            with self.reached():
                torch.distributed.broadcast(own[name], src=0)
        return dict(own)

    def exchanged(self, given: list[Tensor], expected: list[int]) -> list[Tensor]:
        """Process n gets the nth of the vectors `given`; from each come as many numbers as are `expected`."""
        found = given[0].new_empty(sum(expected))
        with self.reached():
            torch.distributed.all_to_all_single(found, torch.cat(given), expected, [one.numel() for one in given])
        return list(found.split(expected))

    def _summed(self, tensor: Tensor) -> Tensor:
        with self.reached():
            torch.distributed.all_reduce(tensor)
        return tensor

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Inside, the others are talked to; Lost where one of them is gone."""
        try:
            yield
        except RuntimeError as error:
            lost = f"process {self.rank} of {self.size} lost another one, and none goes on alone"
            raise Lost(f"{lost}; what was last saved stands, and the next start goes on from there") from error


class Lost(Refusal):
    """Another process of the crew is gone."""


ALONE = Crew()
"""The crew of a training in one process."""


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters in their order, in groups of about `BUCKET_NUMBERS`, of one type each."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        full = sum(one.numel() for one in bucket) + parameter.numel() > BUCKET_NUMBERS
        if bucket and (full or bucket[0].dtype != parameter.dtype):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket
