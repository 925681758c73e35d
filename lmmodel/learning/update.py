"""One update of the weights: clip, set the rates by the schedule, let the optimizer go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from lmmodel.architecture.roles import Role
from lmmodel.learning.families import OPTIMIZER, SCHEDULE
from lmmodel.learning.uncompiled import without_compiler
from lmmodel.params.kinds import Chosen


class Update:
    """An optimizer over parameters by name, each with its role, under a schedule."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        roles: Mapping[str, Role],
        optimizer: Chosen,
        schedule: Chosen,
        clip: float | None,
        dtype: torch.dtype,
    ) -> None:
        self.parameters, self.clip = dict(parameters), clip
        by_role = {role: [p for name, p in parameters.items() if roles[name] == role] for role in get_args(Role)}
        kind = OPTIMIZER.load(optimizer.kind, optimizer.file)
        with without_compiler():
            self.parts: tuple[torch.optim.Optimizer, ...] = kind(optimizer.options, by_role, dtype=dtype).parts
        self._schedule, self._schedule_options = SCHEDULE.load(schedule.kind, schedule.file), schedule.options
        self._peaks = [[group["lr"] for group in part.param_groups] for part in self.parts]

    def rate(self, fraction: float) -> float:
        """What every learning rate is multiplied by when `fraction` of the budget is spent."""
        return self._schedule(self._schedule_options, fraction)

    def norm(self) -> Tensor:
        """Of all gradients together."""
        return get_total_norm([p.grad for p in self.parameters.values() if p.grad is not None])

    def apply(self, fraction: float, norm: Tensor) -> None:
        """Change the parameters by their gradients, whose `norm` is known."""
        if self.clip is not None:
            clip_grads_with_norm_(self.parameters.values(), self.clip, norm)
        rate = self.rate(fraction)
        with without_compiler():
            for part, peaks in zip(self.parts, self._peaks, strict=True):
                for group, peak in zip(part.param_groups, peaks, strict=True):
                    group["lr"] = peak * rate
                part.step()

    def averaged(self) -> dict[str, Tensor]:
        """The values to be judged by, where an optimizer's are not the ones that gradients are taken at."""
        return {
            name: part.averaged(parameter).detach()
            for part in self.parts
            if hasattr(part, "averaged")
            for name, parameter in self.parameters.items()
        }

    def state(self) -> dict[str, Tensor]:
        """What the optimizer remembers, as tensors by `part/key/parameter`."""
        names: dict[Tensor, str] = {parameter: name for name, parameter in self.parameters.items()}
        return {
            f"{number}/{key}/{names[parameter]}": value
            for number, part in enumerate(self.parts)
            for parameter, memory in part.state.items()
            for key, value in memory.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state` gave."""
        for path, value in state.items():
            number, key, name = path.split("/", 2)
            part, parameter = self.parts[int(number)], self.parameters[name]
            counts = not value.dim() and not part.defaults.get("fused")  # a fused kernel reads its count on the device
            memory: dict[str, Any] = part.state[parameter]
            memory[key] = value.clone() if counts else value.clone().to(parameter.device)
