"""Whether a declared design is sound: the hard checks, which it passes before anything is trained.

Ground rules: every parameter is redrawn at random first, since a mixer that looks ahead through an output of zeros
would pass; arithmetic is in float64, where a sound design is off by 1e-15 and a fault by 1e-1; there are at least 192
tokens, and more than any window; the model is reduced in depth (each layer that is unlike the others stays) and in
vocabulary only.

    shape      what goes in comes out, as numbers        packed     a document in a row is as it is alone
    causality  nothing comes from later tokens           rows       a row is the same among other rows
    cached     token by token, in chunks = at once       gradient   reaches every parameter
    ragged     padding on the left changes nothing       counts     as large as counted, each parameter with one role
    save       saved and loaded, the same predictions
"""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from lmmodel.architecture import count, probes
from lmmodel.architecture.causes import AT_RANDOM, BEHIND_A_MASK, CAUSES
from lmmodel.architecture.compare import Comparison, compare
from lmmodel.architecture.declaration import Declaration, sorts
from lmmodel.architecture.finding import Failed, Finding, find
from lmmodel.architecture.model import Model, build
from lmmodel.architecture.roles import roles
from lmmodel.architecture.unseen import refuse_untrue

_TOKENS, _VOCABULARY = 192, 61
_BEYOND_WINDOW = 32
_EXACT, _CLOSE = 1e-9, 1e-6  # of the largest logit: where shapes are equal, and where they are not


def hard(declaration: Declaration, *, only: Container[str] | None = None) -> list[Finding]:
    """A finding for each hard check (those in `only`), in their order; one where the model cannot even be built."""
    small = reduced(declaration)
    try:
        model = redrawn(build(small, seed=0, dtype=torch.float64))
    except Exception as error:
        return [Finding("shape", False, f"it cannot be built: {type(error).__name__}: {error}")]
    chosen = [name for name in HARD if only is None or name in only]
    found = (find(name, partial(HARD[name], model), model, cause=CAUSES[name]) for name in chosen)
    return [replace(finding, accepted=finding.name in declaration.accept) for finding in found]


def reduced(declaration: Declaration) -> Declaration:
    """The design with each unlike layer once (two where all are alike), few words, and room for all the tokens."""
    numbers = list(sorts(declaration.layers))
    if len(numbers) == 1 and declaration.depth > 1:
        numbers = [0, 1]
    layers = tuple(declaration.layers[number] for number in numbers)
    windows = [window for layer in layers if (window := getattr(layer.attention.options, "window", None))]
    reached = [window + _BEYOND_WINDOW for window in windows if window < declaration.context]
    told = {
        "layers": layers,
        "depth": len(layers),
        "names": tuple(f"layer {number}" for number in numbers),
        "vocab_size": min(declaration.vocab_size, _VOCABULARY),
        "context": max(declaration.context, _TOKENS, *reached),
    }
    return declaration.model_copy(update=told)


def redrawn(model: Model, *, share: float = 1.0) -> Model:
    """`model` with every parameter moved at random, by a share of what a parameter of its shape may be."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for role, parameter in zip(roles(model).values(), model.parameters(), strict=True):
            spread = {"matrix": parameter.size(-1) ** -0.5 if parameter.dim() else 1.0, "embedding": 1.0, "vector": 0.3}
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((share * noise * spread[role]).to(parameter.dtype))
    return model


# -- the checks: each returns what it found, or raises Failed ---------------------------------------------------------


def length(model: Model) -> int:
    """Tokens to check with: at least 192, and beyond every window."""
    windows = [getattr(layer.attention.options, "window", None) or 0 for layer in model.declaration.layers]
    return max([_TOKENS, *(w + _BEYOND_WINDOW for w in windows if w + _BEYOND_WINDOW <= model.declaration.context)])


def _shape(model: Model) -> str:
    tokens_BT = probes.tokens(model, rows=2, length=length(model))
    wanted = (*tokens_BT.shape, model.declaration.width)
    with ExitStack() as stack:
        for number, layer in enumerate(model.layers):
            for name, part in layer.named_children():
                stack.callback(part.register_forward_hook(_watch(f"layers.{number}.{name}", wanted)).remove)
            stack.callback(layer.register_forward_hook(_watch(f"layers.{number}", wanted)).remove)
        trace = model.eval().trace(tokens_BT, ahead=True)
    for hidden_BTD in (trace.hidden_BTD, *trace.ahead):
        _watch("norm", wanted)(model.norm, (), hidden_BTD)
    return f"{tuple(tokens_BT.shape)} tokens in, {wanted} out"


def _watch(name: str, wanted: tuple[int, ...]) -> Callable[..., None]:
    """A hook that holds what a part gives against what it should be."""

    def hook(module: nn.Module, given: object, gave: object) -> None:
        if not isinstance(gave, Tensor):
            raise Failed(f"it gives a {type(gave).__name__}, not a tensor", name)
        if gave.shape != wanted:
            raise Failed(f"it was given {wanted} and gives {tuple(gave.shape)}", name)
        if gave.dtype != torch.float64:
            raise Failed(f"weights and input are float64, and it gives {gave.dtype}", name)
        if not gave.isfinite().all():
            raise Failed(
                f"{int((~gave.isfinite()).sum())} of {gave.numel()} numbers that it gives are not finite", name
            )

    return hook


def _agreeing(probe: Callable[[Model, int], Comparison], tolerance: float) -> Callable[[Model], str]:
    def check(model: Model) -> str:
        comparison = probe(model, length(model))
        parting = compare(model, comparison, tolerance=tolerance)
        if parting is not None:
            cause = AT_RANDOM if _draws(model, comparison) else ""
            told = f"{comparison.tell(parting.number)}; off by {parting.error:.2g}"
            raise Failed(told, parting.module, cause=cause)
        return f"{comparison.total:,} tokens agree"

    return check


def _draws(model: Model, comparison: Comparison) -> bool:
    """Whether the model draws at random where it should not: the same pass twice differs."""
    step = comparison.expected.passes[0]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        one, other = (model.eval().trace(step.tokens_BT, documents_BT=step.documents_BT) for _ in range(2))
    return not torch.equal(one.hidden_BTD, other.hidden_BTD)


def _gradient(model: Model) -> str:
    """Where numbers run large, as without a norm, a softmax saturates and products overflow: what is wrong must be so
    on a small scale too.
    """
    wrong = _wrong_gradients(model)
    if wrong:
        calm = redrawn(build(model.declaration, seed=0, dtype=torch.float64), share=0.1)
        wrong = {name: failed for name, failed in _wrong_gradients(calm).items() if name in wrong}
    for failed in wrong.values():
        raise failed
    return f"reaches all {len(list(model.parameters()))} parameters"


def _wrong_gradients(model: Model) -> dict[str, Failed]:
    """The parameters that a backward pass of all that is predicted leaves alone, or gives what is not finite."""
    model.train().zero_grad()
    trace = model.trace(probes.tokens(model, rows=2, length=length(model)), ahead=True)
    values = [model.logits(hidden_BTD) for hidden_BTD in (trace.hidden_BTD, *trace.ahead)] + list(trace.losses.values())
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(value.shape, generator=generator, dtype=value.dtype) for value in values]
    # One number to go back from: given weights for several, torch loads its symbolic shapes, which takes a second.
    torch.stack([(value * weight).sum() for value, weight in zip(values, weights, strict=True)]).sum().backward()
    wrong = {}
    for name, parameter in model.named_parameters():
        module, _, short = name.rpartition(".")
        if parameter.grad is None or not parameter.grad.any():
            wrong[name] = Failed(f"no gradient reaches {short} ({name})", module)
        elif not parameter.grad.isfinite().all():
            told = f"the gradient of {short} ({name}) is not finite"
            wrong[name] = Failed(told, module, cause=BEHIND_A_MASK)
    return wrong


def _counts(model: Model) -> str:
    counts = count.measure(model.declaration)
    built = {name: parameter.numel() for name, parameter in model.named_parameters()}
    if sum(built.values()) != counts.parameters:
        raise Failed(f"{counts.parameters:,} parameters were counted, {sum(built.values()):,} are there")
    if missing := built.keys() ^ roles(model).keys():
        raise Failed(f"no optimizer role, or two, for {', '.join(sorted(missing))}")
    tokens_BT = probes.tokens(model, rows=1, length=model.declaration.context)
    refuse_untrue(model.eval(), tokens_BT)
    state = model.state(1, model.declaration.context)
    with torch.no_grad():
        model.trace(tokens_BT, state=state)
    if not counts.cache_bytes <= state.bytes() <= 4 * counts.cache_bytes:
        wide, narrow = f"{state.bytes():,} bytes in float64", f"{counts.cache_bytes:,} were counted in bfloat16"
        raise Failed(f"decoding keeps {wide}, and {narrow}")
    return f"{counts.parameters:,} parameters, each with one role"


def _save(model: Model) -> str:
    from safetensors.torch import load, save

    tokens_BT = probes.tokens(model, rows=1, length=length(model))
    other = build(model.declaration, seed=1, dtype=torch.float64).eval()
    written = save({name: value.contiguous() for name, value in model.state_dict().items()})
    other.load_state_dict(load(written))
    if save({name: value.contiguous() for name, value in other.state_dict().items()}) != written:
        raise Failed("what was saved, loaded and saved again is not the same bytes")
    with torch.no_grad():
        before, after = model.eval()(tokens_BT), other(tokens_BT)
    if not torch.equal(before, after):
        error = (before - after).abs().max()
        raise Failed(f"predictions are off by {error:.2g}: something they depend on is neither parameter nor buffer")
    return f"{len(written):,} bytes, loaded the same, with the same predictions"


HARD: dict[str, Callable[[Model], str]] = {
    "shape": _shape,
    "causality": _agreeing(probes.later_tokens_changed, _EXACT),
    "cached": _agreeing(probes.piece_by_piece, _CLOSE),
    "ragged": _agreeing(probes.padded_on_the_left, _CLOSE),
    "packed": _agreeing(probes.packed_in_a_row, _CLOSE),
    "rows": _agreeing(probes.other_rows_changed, _EXACT),
    "gradient": _gradient,
    "counts": _counts,
    "save": _save,
}
