"""How a model is, beyond its loss: what moves in it, what it looks at, what in it sleeps.

Of each component, in a step that a validation follows: the norm of its gradient, and of its update against its weights'
(healthy is about 0.001 for Adam). On a few rows of validation text: the entropy of attention in nats, near 0 where a
layer has collapsed onto single tokens (Zhai and others, 2023, "Stabilizing Transformer Training by Preventing Attention
Entropy Collapse"); the share of units in feed-forward parts that no token wakes; and how unevenly experts are used.
Nothing of this is part of what is learnt, and it costs less than a hundredth of the time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lmmodel.architecture.span import Span
from lmmodel.learning.crew import ALONE, Crew

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model

PROBED_TOKENS = 1024
"""Of validation text, at a time."""
_ASLEEP = 1e-3
"""Against the layer's typical output: what a unit stays below that counts as dead."""


class Health:
    """Figures by name: `gradient_norm/layers.0.attention`, `update/...`, `attention_entropy/...`, and so on.

    crew: the processes that hold a part of the masters each; alone, this one holds all.
    """

    def __init__(self, model: Model, masters: Mapping[str, nn.Parameter], *, crew: Crew = ALONE) -> None:
        self._model, self._masters, self._crew = model, masters, crew
        self._before: dict[str, Tensor] = {}
        self._moved: dict[str, float] = {}

    @torch.no_grad()
    def before(self) -> None:
        """An update is about to be made that is to be looked at: gradients are there, not yet clipped."""
        gradients = {name: one.new_zeros(1) if one.grad is None else one.grad for name, one in self._masters.items()}
        self._moved = {f"gradient_norm/{name}": norm for name, norm in self._norms(gradients)}
        self._before = {name: master.detach().to("cpu", copy=True) for name, master in self._masters.items()}

    @torch.no_grad()
    def after(self) -> None:
        """It has been made."""
        moved = {name: master - self._before[name].to(master.device) for name, master in self._masters.items()}
        whole = dict(self._norms(self._before))
        self._moved |= {f"update/{name}": norm / max(whole[name], 1e-30) for name, norm in self._norms(moved)}
        self._before = {}

    @torch.no_grad()
    def probe(self, tokens_BT: Tensor, documents_BT: Tensor | None) -> dict[str, float]:
        """All figures: of the last update that was looked at, and of the model on these tokens, the first of them."""
        rows = max(1, PROBED_TOKENS // tokens_BT.size(1))
        found: dict[str, list[Tensor]] = defaultdict(list)
        documents_BT = None if documents_BT is None else documents_BT[:rows]
        with ExitStack() as stack:
            for name, module in self._model.named_modules():
                stack.callback(module.register_forward_hook(_attention(name, found)).remove)
                if name.endswith("feed_forward.out"):
                    stack.callback(module.register_forward_pre_hook(_units(name, found)).remove)
            trace = self._model.trace(tokens_BT[:rows], documents_BT=documents_BT, probing=True)
        seen = {name: float(torch.stack(values).mean()) for name, values in found.items()}
        return self._moved | seen | dict(_loads(trace.reports))

    def _norms(self, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, float]]:
        """The norm of each component's tensors together, all processes' parts of them."""
        together: dict[str, list[Tensor]] = defaultdict(list)
        for name, tensor in tensors.items():
            together[component(name)].append(torch.linalg.vector_norm(tensor, dtype=torch.float32))
        own = [float(torch.linalg.vector_norm(torch.stack(norms))) for norms in together.values()]
        squares = self._crew.totals(*(norm**2 for norm in own))
        yield from zip(together, map(math.sqrt, squares) if self._crew.size > 1 else own, strict=True)


def component(name: str) -> str:
    """Which part of a model a parameter belongs to: `layers.0.attention`, `embedding`."""
    words = name.split(".")
    return ".".join(words[:3] if words[0] in ("layers", "ahead") and len(words) > 3 else words[:-1] or words)


def _attention(name: str, found: dict[str, list[Tensor]]) -> Callable[[nn.Module, Any, Any], None]:
    """What was seen while the innermost component was computed that has the span is that component's."""

    def look(module: nn.Module, given: Any, gave: Any) -> None:
        for span in (one for one in given if isinstance(one, Span)):
            while span.entropies:
                found[f"attention_entropy/{name}"].append(span.entropies.pop())

    return look


def _units(name: str, found: dict[str, list[Tensor]]) -> Callable[[nn.Module, Any], None]:
    def look(module: nn.Module, given: Any) -> None:
        units_NF = given[0].flatten(0, -2).float()
        typical = units_NF.square().mean().sqrt()
        asleep_F = units_NF.abs().amax(0) <= _ASLEEP * typical
        found[f"dead_units/{name.removesuffix('.out')}"].append(asleep_F.float().mean())

    return look


def _loads(reports: Mapping[str, Tensor]) -> Iterator[tuple[str, float]]:
    """Of each mixture of experts: the largest load against the mean, and the share of those that had none."""
    for name, load_E in reports.items():
        if name.endswith(".load"):
            of = name.removesuffix(".load")
            yield f"expert_load_largest/{of}", float(load_E.max() / load_E.float().mean())
            yield f"expert_load_none/{of}", float((load_E == 0).float().mean())
