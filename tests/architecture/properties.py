"""What every sound part does, whatever it is: the promises of the contract, held against whole models.

Parameters are redrawn first, so that nothing hides behind a zero or a one; arithmetic is in float64, so that rounding
is not mistaken for a fault.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.model import Model, build
from lmmodel.architecture.resolve import resolve
from lmmodel.params.document import parse

CHUNKS = (7, 1, 1, 5, 1, 30, 1, 1, 40, 2)
Mixing = Callable[[Tensor], Tensor]


def model(
    design: str, *, width: int = 32, depth: int = 2, heads: int = 4, context: int = 256, vocab_size: int = 19
) -> Model:
    """The model of `design` (what stands under `design:`), its parameters redrawn, in float64."""
    size = f"width: {width}, depth: {depth}, heads: {heads}, context: {context}"
    made = build(declared(design, size, vocab_size), seed=1, dtype=torch.float64)
    redraw(made)
    return made.eval()


def declared(
    design: str, size: str = "width: 32, depth: 2, heads: 4, context: 256", vocab_size: int = 19
) -> Declaration:
    """The declaration of `design` at a size."""
    return resolve(parse(f"model: {{{size}, design: {design}}}", name="params.yaml"), vocab_size=vocab_size)


def redraw(module: torch.nn.Module, seed: int = 0) -> None:
    """Every parameter moved at random, in proportion to where it is."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            spread = 0.3 if parameter.dim() < 2 else parameter.size(-1) ** -0.5
            parameter.add_((noise * spread).to(parameter.dtype))


def tokens(batch: int = 2, length: int = 200, *, seed: int = 0, vocab_size: int = 19) -> Tensor:
    """Random tokens."""
    return torch.randint(vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))


def error(one: Tensor, other: Tensor) -> float:
    """The largest difference."""
    return (one - other).abs().max().item()


@torch.no_grad()
def assert_sound(made: Model, *, length: int = 200, least: float = 1e-4) -> None:
    """All of the promises below, but the gradient's."""
    tokens_BT = tokens(length=length)
    assert_causal(made, tokens_BT, least)
    assert_cached(made, tokens_BT)
    assert_ragged(made, tokens_BT)
    assert_packed(made, tokens_BT)
    assert_apart(made, tokens_BT)


def assert_causal(made: Model, tokens_BT: Tensor, least: float = 1e-4) -> None:
    """A token changes nothing before it, and something from it on."""
    logits_BTV = made(tokens_BT)
    for place in (0, 1, 63, 64, 65, 127, 150, tokens_BT.size(1) - 1):
        changed_BT = tokens_BT.clone()
        changed_BT[:, place] = (changed_BT[:, place] + 1) % 19
        moved_BT = (made(changed_BT) - logits_BTV).abs().amax(-1)
        assert not place or moved_BT[:, :place].max() < 1e-10, f"token {place} is seen before it stands there"
        assert moved_BT[:, place].min() > least, f"token {place} is not seen"


def assert_cached(made: Model, tokens_BT: Tensor) -> None:
    """Decoding in chunks and step by step gives what one pass gives; so does a state whose rows were chosen."""
    B, T = tokens_BT.shape
    full_BTV, state, start, parts = made(tokens_BT), made.state(B, T), 0, []
    for chunk in (*CHUNKS, T - sum(CHUNKS) - 20, *[1] * 20):
        parts.append(made(tokens_BT[:, start : start + chunk], state=state))
        start += chunk
        if start == 50:
            assert state.bytes() > 0
            state = state.select(list(range(B)))
    assert start == T
    assert error(torch.cat(parts, dim=1), full_BTV) < 1e-10


def assert_ragged(made: Model, tokens_BT: Tensor) -> None:
    """Padding on the left, a document of its own, changes nothing; nor does going on after it, in chunks."""
    B, T = tokens_BT.shape
    pads = (0, 11) if B == 2 else tuple(range(B))
    padded_BT, documents_BT = tokens_BT.clone(), torch.ones_like(tokens_BT)
    for row, pad in enumerate(pads):
        padded_BT[row, pad:] = tokens_BT[row, : T - pad]
        documents_BT[row, :pad] = 0
    state, cut = made.state(B, T), T - 30
    first = made(padded_BT[:, :cut], documents_BT=documents_BT[:, :cut], state=state)
    rest = [made(padded_BT[:, t : t + 1], state=state) for t in range(cut, T)]
    for got_BTV in (made(padded_BT, documents_BT=documents_BT), torch.cat([first, *rest], dim=1)):
        for row, pad in enumerate(pads):
            alone = made(tokens_BT[row : row + 1, : T - pad])
            assert error(got_BTV[row, pad:], alone[0]) < 1e-10


def assert_packed(made: Model, tokens_BT: Tensor) -> None:
    """Documents in one row give what each gives alone."""
    lengths = (3, 64, 1, 50, tokens_BT.size(1) - 118)
    documents_T = torch.repeat_interleave(torch.arange(5), torch.tensor(lengths))
    packed_BTV = made(tokens_BT, documents_BT=documents_T.expand(tokens_BT.shape).contiguous())
    parts = [made(part) for part in tokens_BT.split(lengths, dim=1)]
    assert error(torch.cat(parts, dim=1), packed_BTV) < 1e-10


def assert_apart(made: Model, tokens_BT: Tensor) -> None:
    """A row alone gives what it gives among others."""
    assert error(made(tokens_BT[1:]), made(tokens_BT)[1:]) < 1e-10


def assert_learns(made: Model, *, length: int = 200, but: tuple[str, ...] = ()) -> None:
    """A gradient, finite and not zero, reaches every parameter, those whose name ends with one of `but` excepted."""
    tokens_BT = tokens(length=length)
    documents_BT = torch.arange(length).expand(2, length) // 150
    loss = torch.nn.functional.cross_entropy(
        made(tokens_BT[:, :-1], documents_BT=documents_BT[:, :-1]).flatten(0, 1), tokens_BT[:, 1:].flatten()
    )
    made.zero_grad()
    loss.backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.isfinite().all(), f"{name} has a gradient that is no number"
        assert parameter.grad.abs().max() > 0 or name.endswith(but or ("no name",)), f"{name} is dead"


def assert_same(part: torch.nn.Module, one: Mixing, other: Mixing, x: Tensor, tolerance: float = 1e-10) -> None:
    """Two ways to compute `part` agree: outputs, and gradients of the input and of every parameter of `part`."""
    results = []
    for way in (one, other):
        part.zero_grad()
        leaf = x.clone().requires_grad_()
        y = way(leaf)
        (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
        results.append([y, leaf.grad, *(parameter.grad for parameter in part.parameters())])
    names = ["output", "input", *(name for name, _ in part.named_parameters())]
    for name, got, expected in zip(names, *results, strict=True):
        assert got is not None, f"{name} has no gradient"
        scale = max(1.0, expected.abs().max().item())
        assert error(got, expected) < tolerance * scale, f"{name} differs by {error(got, expected)}"


def flops(design: str, *, tokens: int) -> int:
    """Floating-point operations of a forward pass over so many tokens, as torch counts them; nothing is computed."""
    made = build(declared(design, f"width: 32, depth: 2, heads: 4, context: {tokens}"), device="meta")
    with FlopCounterMode(display=False) as counter:
        made(torch.zeros(1, tokens, dtype=torch.int64, device="meta"))
    return counter.get_total_flops()
