"""A declaration made into a model: embedding, layers, last norm, head.

Single-device arithmetic and nothing else: no loss, no optimizer, no parallelism, no logging.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmmodel.architecture import initial
from lmmodel.architecture.declaration import Declaration, Layer
from lmmodel.architecture.families import ATTENTION, BLOCK, FEED_FORWARD, NORM, POSITION
from lmmodel.architecture.ngrams import NGrams
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.architecture.state import State
from lmmodel.params.kinds import Chosen, Family


class Trace(NamedTuple):
    """One pass: the normed last hidden state; `ahead[i]_BTD`, which predicts token t + 2 + i; what components said.

    losses: by name, one number a row, already weighted. reports: by name, sums that add up over rows.
    """

    hidden_BTD: Tensor
    ahead: tuple[Tensor, ...]
    losses: dict[str, Tensor]
    reports: dict[str, Tensor]


class Model(nn.Module):
    """tokens_BT -> logits_BTV."""

    def __init__(self, declaration: Declaration) -> None:
        super().__init__()
        sizes = declaration.sizes()
        self.declaration = declaration
        self.embedding = nn.Embedding(declaration.vocab_size, sizes.width)
        self.ngrams = NGrams(declaration.embedding.ngrams, sizes.width) if declaration.embedding.ngrams else None
        self.embedding_scale = sizes.width**0.5 if declaration.embedding.scale == "sqrt_width" else None
        self.embedding_norm = _make(NORM, declaration.norm)(sizes) if declaration.embedding.norm else None
        self.position: Any = _embedding_position(declaration.position, sizes)
        self.layers = nn.ModuleList(_block(layer, declaration.sizes(n)) for n, layer in enumerate(declaration.layers))
        self.norm = self._last_norm(self.layers[-1])
        depths = range(sizes.depth, sizes.depth + declaration.head.ahead)
        self.ahead = nn.ModuleList(_block(declaration.layers[-1], declaration.sizes(n)) for n in depths)
        self.ahead_norms = nn.ModuleList(self._last_norm(block) for block in self.ahead)
        self.head = None if declaration.embedding.tied else nn.Linear(sizes.width, declaration.vocab_size, bias=False)
        self.softcap = declaration.head.softcap
        self._names = {module: name for name, module in self.named_modules()}

    def _last_norm(self, block: nn.Module) -> nn.Module:
        """What stands between a last block and the head."""
        if block.ends_normed:
            return nn.Identity()
        return _make(NORM, self.declaration.norm)(self.declaration.sizes())

    @property
    def unembedding_VD(self) -> Tensor:  # noqa: N802
        """The table that turns a hidden state into logits; the embedding itself where they are tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    def forward(self, tokens_BT: Tensor, *, documents_BT: Tensor | None = None, state: State | None = None) -> Tensor:
        """logits_BTV."""
        return self.logits(self.trace(tokens_BT, documents_BT=documents_BT, state=state).hidden_BTD)

    def trace(
        self,
        tokens_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        state: State | None = None,
        ahead: bool = False,
        probing: bool = False,
    ) -> Trace:
        """All of a pass but the logits, which training never needs whole.

        Tokens are int64; equal `documents_BT` that stand together are one document. With a `state` the tokens follow
        those that it remembers, and it remembers them too. `ahead`: also the further predictions.
        """
        if state is not None:
            state.room_for(*tokens_BT.shape)
        span = Span(tokens_BT, documents_BT=documents_BT, state=state, names=self._names, probing=probing)
        x_BTD = self._embed(tokens_BT, span)
        for layer in self.layers:
            x_BTD = layer(x_BTD, span)
        further = zip(self.ahead, self.ahead_norms, strict=True) if ahead else ()
        ahead_BTD = tuple(norm(block(x_BTD, span)) for block, norm in further)
        hidden_BTD = self.norm(x_BTD)
        if state is not None:
            state.length += tokens_BT.size(1)
        return Trace(hidden_BTD, ahead_BTD, span.losses, span.reports)

    def _embed(self, tokens_BT: Tensor, span: Span) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        if self.ngrams is not None:
            x_BTD = x_BTD + self.ngrams(tokens_BT, span)
        if self.embedding_scale is not None:
            x_BTD = x_BTD * self.embedding_scale
        if self.position is not None:
            x_BTD = self.position.embed(x_BTD, span.positions_BT)
        return x_BTD if self.embedding_norm is None else self.embedding_norm(x_BTD)

    def logits(self, hidden_BTD: Tensor) -> Tensor:
        """logits_BTV of hidden states (or of some of them)."""
        logits_BTV = F.linear(hidden_BTD, self.unembedding_VD)
        return logits_BTV if self.softcap is None else self.softcap * torch.tanh(logits_BTV / self.softcap)

    def state(self, batch: int, capacity: int) -> State:
        """An empty memory for `batch` rows of at most `capacity` tokens."""
        return State(batch, capacity)

    def adapt(self, reports: dict[str, Tensor]) -> None:
        """Hand each component that adapts (`adapt(reports)`) its own reports, once a step, summed over all rows."""
        for module, name in self._names.items():
            adapt = None if module is self else getattr(module, "adapt", None)
            if adapt is not None:
                prefix = f"{name}."
                adapt({key.removeprefix(prefix): value for key, value in reports.items() if key.startswith(prefix)})


def build(
    declaration: Declaration,
    *,
    seed: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Model:
    """The model that `declaration` describes, with initial values.

    seed: draws them; None takes one from torch's global generator, as every torch module does. On the device "meta"
    there are shapes and no values. dtype: of all its floating-point numbers, float32 unless told.
    """
    device = torch.device(device)
    if device.type == "meta":
        with device, initial.WithoutValues():
            return Model(declaration).to(dtype=dtype)
    seed = int(torch.randint(2**62, ())) if seed is None else seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Model(declaration)
    initial.draw(model, seed=seed, initial=declaration.initial, depth=declaration.depth)
    return model.to(device=device, dtype=dtype)


def _make(family: Family, chosen: Chosen) -> Callable[..., Any]:
    """A Maker: the kind's class with its options bound."""
    return partial(family.load(chosen.kind, chosen.file), chosen.options)


def _block(layer: Layer, sizes: Sizes) -> nn.Module:
    """One layer, put together. No position for a mixer that orders itself, nor where the embedding has it already."""
    norm, mixer, position = _make(NORM, layer.norm), _make(ATTENTION, layer.attention), layer.position
    orders_itself = getattr(ATTENTION.load(layer.attention.kind, layer.attention.file), "orders_itself", False)
    if orders_itself or _acts_on(position) == "embedding":
        position = Chosen("none", POSITION.options("none")())
    return _make(BLOCK, layer.block)(
        sizes,
        attention=mixer(sizes, position=_make(POSITION, position), norm=norm),
        feed_forward=_make(FEED_FORWARD, layer.feed_forward)(sizes),
        norm=norm,
    )


def _embedding_position(chosen: Chosen, sizes: Sizes) -> nn.Module | None:
    return _make(POSITION, chosen)(sizes) if _acts_on(chosen) == "embedding" else None


def _acts_on(chosen: Chosen) -> str:
    return POSITION.load(chosen.kind, chosen.file).acts_on
