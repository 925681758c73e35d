"""The operations that torch really runs, seen one by one: what each of them computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten


class Watching(TorchDispatchMode):
    """Sees every operation inside."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # torch wraps a mode that says yes, and the wrapper loads the compiler
        return False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The operation as ever, shown to `see`."""
        result = function(*args, **(kwargs or {}))
        self.see(function, args, kwargs or {}, result)
        return result

    def see(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """One operation with what it was given and what it gave."""
        raise NotImplementedError


class Flops(Watching):
    """Adds up floating-point operations. torch's FlopCounterMode would load its compiler."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def see(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """One operation, counted."""
        self.total += flops(function, args, kwargs, result)


def flops(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """By torch's formulas; a processor's fused attention has none in 2.13: two products, and five on the way back."""
    packet = function._overloadpacket
    if packet is _aten._scaled_dot_product_flash_attention_for_cpu:
        return 2 * _product_flops(*args[:3])
    if packet is _aten._scaled_dot_product_flash_attention_for_cpu_backward:
        return 5 * _product_flops(*args[1:4])
    return int(flop_registry[packet](*args, **kwargs, out_val=result)) if packet in flop_registry else 0


def _product_flops(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSV: Tensor) -> int:
    return q_BHTK[..., 0].numel() * k_BHSK.size(-2) * (q_BHTK.size(-1) + v_BHSV.size(-1))
