"""What tests of parts share: designs made into models, two ways to compute one thing, and the hard checks.

Parameters are redrawn first, so that nothing hides behind a zero or a one; arithmetic is in float64, so that rounding
is not mistaken for a fault.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lmmodel.architecture import check
from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.model import Model, build
from lmmodel.architecture.resolve import resolve
from lmmodel.architecture.span import Span
from lmmodel.params.document import parse

SIZE = "width: 32, depth: 2, heads: 4, context: 256"
Mixing = Callable[[Tensor], Tensor]


def model(
    design: str, *, width: int = 32, depth: int = 2, heads: int = 4, context: int = 256, vocab_size: int = 19
) -> Model:
    """The model of `design` (what stands under `design:`), its parameters redrawn, in float64."""
    size = f"width: {width}, depth: {depth}, heads: {heads}, context: {context}"
    made = build(declared(design, size, vocab_size), seed=1, dtype=torch.float64)
    redraw(made)
    return made.eval()


def declared(design: str, size: str = SIZE, vocab_size: int = 19) -> Declaration:
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


def assert_sound(design: str, size: str = SIZE) -> None:
    """The hard checks find nothing wrong with `design`."""
    assert [finding.text for finding in check.hard(declared(design, size)) if not finding.passed] == []


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


def assert_its_recurrence(attention: str, naive: Callable[..., Tensor], length: int) -> None:
    """The mixer of `attention` gives what `naive(mixer, x_BTD, begins)` does token by token, across four documents."""
    mixer = model(f"{{attention: {attention}}}").layers[0].attention
    begins = (0, 3, 64, 101)
    documents_BT = torch.zeros(2, length, dtype=torch.int64)
    for begin in begins[1:]:
        documents_BT[:, begin:] += 1
    x_BTD = torch.randn(2, length, 32, dtype=torch.float64)
    span = Span(torch.zeros(2, length, dtype=torch.int64), documents_BT=documents_BT)
    assert_same(mixer, lambda x: mixer(x, span), lambda x: naive(mixer, x, begins), x_BTD)


def assert_linear_in_context(attention: str) -> None:
    """Eight times the tokens cost eight times the operations."""
    short, long = (flops(f"{{attention: {attention}}}", tokens=tokens) for tokens in (512, 4096))
    assert long == 8 * short


def flops(design: str, *, tokens: int) -> int:
    """Floating-point operations of a forward pass over so many tokens, as torch counts them; nothing is computed."""
    made = build(declared(design, f"width: 32, depth: 2, heads: 4, context: {tokens}"), device="meta")
    with FlopCounterMode(display=False) as counter:
        made(torch.zeros(1, tokens, dtype=torch.int64, device="meta"))
    return counter.get_total_flops()
