"""Whether what components declare in `mixing_flops` can be true: it is for work that torch's formulas do not see.

A module's passes are watched: numbers that go through operations without a formula bound what it may declare. An
operation of one's own may do anything inside, so beside one nothing is bounded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from lmmodel.architecture.finding import Failed
from lmmodel.architecture.kernels import Watching
from lmmodel.architecture.model import Model

_PER_NUMBER = 8  # operations at most that an exponential, a root or a softmax takes for each number


def refuse_untrue(model: Model, tokens_BT: Tensor) -> None:
    """Raise Failed where a module declares more than can be, or what is not its share of one token."""
    for name, module in model.named_modules():
        if hasattr(module, "mixing_flops"):
            _hold(model, name, module, tokens_BT)


def _hold(model: Model, name: str, module: Any, tokens_BT: Tensor) -> None:
    context = tokens_BT.size(1)
    declared, twice = module.mixing_flops(context), module.mixing_flops(2 * context)
    if not isinstance(declared, int) or declared < 0:
        raise Failed(f"mixing_flops({context}) is {declared!r}, not a number of operations", name)
    if twice > 2 * declared:
        told = f"{declared:,} at a context of {context} and {twice:,} at {2 * context}"
        raise Failed(f"mixing_flops is of one token, and it grows faster than the context: {told}", name)
    bound = _bound(model, module, tokens_BT)
    if bound is not None and declared > bound:
        seen = f"torch does not count only {bound // _PER_NUMBER:,} numbers a token, {bound:,} operations at most"
        raise Failed(f"mixing_flops({context}) is {declared:,}, and {seen}", name)


def _bound(model: Model, module: nn.Module, tokens_BT: Tensor) -> int | None:
    """Operations a token in `module` that torch does not count, at most; None beside an operation of one's own."""
    watch = _Uncounted()
    hooks = [
        module.register_forward_pre_hook(lambda *_: watch.inside(True)),
        module.register_forward_hook(lambda *_: watch.inside(False)),
    ]
    with watch, torch.no_grad():
        model.trace(tokens_BT, ahead=True)
    for hook in hooks:
        hook.remove()
    return None if watch.opaque else _PER_NUMBER * watch.numbers // tokens_BT.numel()


class _Uncounted(Watching):
    """Adds up the numbers that go through operations without a formula, while inside a module."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.opaque, self._inside = 0, False, False

    def inside(self, yes: bool) -> None:
        """From here on in the module, or out of it."""
        self._inside = yes

    def see(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """One operation, its numbers added where torch has no formula and memory is really read."""
        packet = function._overloadpacket
        kernel = packet is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        if self._inside and packet not in flop_registry and not kernel:
            self.opaque |= function.namespace not in ("aten", "prims")
            is_view = any(answer.alias_info is not None for answer in function._schema.returns)
            taken = [tensor.numel() for tensor in (*args, result) if isinstance(tensor, Tensor)]
            self.numbers += 0 if is_view else max(taken, default=0)
