"""What a declared model costs, measured on a model of it that has shapes and no values.

Nothing is declared twice: parts that came with the project and parts of one's own are counted alike. Parameters are
those of the whole model; of layers that are declared alike one is run, and counts as often as there are such layers.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lmmodel.architecture.declaration import Declaration, of_each_sort
from lmmodel.architecture.initial import WithoutValues
from lmmodel.architecture.kernels import Flops
from lmmodel.architecture.model import Model, build
from lmmodel.architecture.roles import roles

PARTS = ("embedding", "attention", "feed_forward", "norm", "block", "head", "ahead")
"""Where parameters and FLOPs go. block: what it holds beside its parts and norms, and what it calls otherwise (a norm's
name ends so); ahead: predictions beyond the next token.
"""


@dataclass(frozen=True)
class Part:
    """Parameters, and floating-point operations of one token's forward pass (a multiplication and an addition are 2).

    Attention's are those of a full rectangle of `context` queries and keys, as torch counts them: a causal mask or a
    window takes nothing off.
    """

    parameters: int = 0
    flops_per_token: int = 0


@dataclass(frozen=True)
class Counts:
    """What a model costs.

    parameters_by_role: as the optimizer sees them (matrix, embedding, vector). training_flops_per_token: forward,
    further predictions and a backward pass of twice both. cache_bytes_per_token, cache_bytes: what decoding keeps in
    bfloat16, for one more token and in all at the full context. activation_bytes: what a sequence of the full context
    keeps for its backward pass in float32, up to the last hidden states, on a processor and not compiled: attention's
    scores are among them where no fused kernel of torch's takes them (alibi, relative, softcap, sinks, latent,
    differential), which grow with the square of the context; compiled for a GPU, alibi, softcap and sinks keep none.
    """

    parameters: int
    parts: dict[str, Part]
    parameters_by_role: dict[str, int]
    flops_per_token: int
    training_flops_per_token: int
    cache_bytes_per_token: int
    cache_bytes: int
    activation_bytes: int

    def training_bytes(self, *, matrix_state: int = 8, other_state: int = 8) -> int:
        """Weights, gradients and an optimizer's state in float32; its bytes for each parameter of a matrix, of others.

        AdamW keeps 8, Muon 4 (and leaves the others to AdamW).
        """
        matrices = self.parameters_by_role.get("matrix", 0)
        return 8 * self.parameters + matrix_state * matrices + other_state * (self.parameters - matrices)

    def dump(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {**asdict(self), "training_bytes": self.training_bytes()}


def measure(declaration: Declaration) -> Counts:
    """The costs of what `declaration` describes."""
    whole = build(declaration, device="meta")
    parameters = _parameters(whole)
    small, times = of_each_sort(declaration)
    large = sum(parameters.values()) * declaration.context > _REALLY_RUN
    with FakeTensorMode() if large else nullcontext():
        flops, activation_bytes = _pass(made(small), declaration, times)
        caches = [_cache_bytes(small, declaration.context * length, times) for length in (1, 2)]
    forward = sum(count for part, count in flops.items() if part != "ahead")
    by_role: Counter[str] = Counter()
    by_name = roles(whole)
    for name, parameter in whole.named_parameters():
        by_role[by_name[name]] += parameter.numel()
    return Counts(
        parameters=sum(parameters.values()),
        parts={part: Part(parameters[part], flops[part]) for part in PARTS if parameters[part] or flops[part]},
        parameters_by_role=dict(by_role),
        flops_per_token=forward,
        training_flops_per_token=3 * (forward + flops["ahead"]),
        cache_bytes_per_token=(caches[1] - caches[0]) // declaration.context,
        cache_bytes=caches[0],
        activation_bytes=activation_bytes,
    )


def made(declaration: Declaration, dtype: torch.dtype = torch.float32) -> Model:
    """The declared model with all its values alike: nothing that is counted depends on them."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with WithoutValues(), torch.no_grad():
            model = Model(declaration)
            for parameter in model.parameters():
                parameter.fill_(0.01)
    finally:
        torch.set_default_dtype(before)
    return model


def part_of(name: str) -> str:
    """The part that a parameter or module of a model belongs to, by its name."""
    words = name.split(".")
    if words[0] == "layers":
        inner = words[2] if len(words) > 2 else ""
        if inner in ("attention", "feed_forward"):
            return inner
        return "norm" if inner.endswith("norm") else "block"
    first = {
        "embedding": "embedding",
        "ngrams": "embedding",
        "position": "embedding",
        "head": "head",
        "ahead": "ahead",
        "ahead_norms": "ahead",
    }
    return first.get(words[0], "norm")


_REALLY_RUN = 10**10
"""Parameters times tokens up to which a pass is really computed: that is faster than to load what avoids it (3 s)."""


def _parameters(model: Model) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        counts[part_of(name)] += parameter.numel()
    return counts


def _pass(model: Model, declaration: Declaration, times: list[int]) -> tuple[Counter[str], int]:
    """FLOPs a token by part, and the bytes that one sequence keeps for the backward pass."""
    tokens_BT = torch.zeros(1, declaration.context, dtype=torch.int64)
    with _Meter(model, times) as meter:
        trace = model.trace(tokens_BT, ahead=True)
    with Flops() as head, torch.no_grad():
        model.logits(trace.hidden_BTD)
    flops = meter.flops
    for name, module in model.named_modules():
        if hasattr(module, "mixing_flops"):
            repeated = times[int(name.split(".")[1])] if name.startswith("layers.") else 1
            flops[part_of(name)] += repeated * module.mixing_flops(declaration.context) * declaration.context
    flops["head"] += head.total
    flops["ahead"] += head.total * declaration.head.ahead
    return Counter({part: round(count / declaration.context) for part, count in flops.items()}), sum(
        meter.kept.values()
    )


class _Meter:
    """Watches one pass of a model: FLOPs by part, and bytes of each storage that the backward pass will need.

    What happens in a layer counts as often as there are such layers; parameters are not kept for anybody.
    """

    def __init__(self, model: Model, times: list[int]) -> None:
        self.flops: Counter[str] = Counter()
        self.kept: dict[int, int] = {}
        self._counter = Flops()
        self._stack = ExitStack()
        self._repeated = 1
        self._alive: list[Tensor] = []  # so that no later storage takes the address of an earlier
        self._weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        for layer, often in zip(model.layers, times, strict=True):
            self._watch(layer, "block", often, inside=None)
            for name, child in layer.named_children():
                self._watch(child, part_of(f"layers.0.{name}"), often, inside="block")
        for block in model.ahead:
            self._watch(block, "ahead", 1, inside=None)

    def _watch(self, module: nn.Module, part: str, often: int, *, inside: str | None) -> None:
        before: list[int] = []

        def enter(*_: Any) -> None:
            self._repeated = often
            before.append(self._counter.total)

        def leave(*_: Any) -> None:
            self._repeated = often if inside else 1
            spent = (self._counter.total - before.pop()) * often
            self.flops[part] += spent
            if inside:
                self.flops[inside] -= spent

        self._stack.callback(module.register_forward_pre_hook(enter).remove)
        self._stack.callback(module.register_forward_hook(leave).remove)

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights and storage._cdata not in self.kept:
            self.kept[storage._cdata] = storage.nbytes() * self._repeated
            self._alive.append(tensor)
        return tensor

    def __enter__(self) -> _Meter:
        self._stack.enter_context(self._counter)
        self._stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()


def _cache_bytes(declaration: Declaration, length: int, times: list[int]) -> int:
    """What decoding a row of so many tokens keeps, in bfloat16."""
    model = made(declaration.model_copy(update={"context": length}), torch.bfloat16)
    state = model.state(1, length)
    with torch.no_grad():
        model.trace(torch.zeros(1, length, dtype=torch.int64), state=state)
    often = {module: times[number] for number, layer in enumerate(model.layers) for module in layer.modules()}
    return sum(often.get(owner, 1) * taken for owner, taken in state.bytes_by_owner().items())
