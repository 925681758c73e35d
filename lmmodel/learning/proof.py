"""What of a declared design shows only when it is trained: the soft checks of this floor.

groups    every parameter in exactly one group of the optimizer
compiled  the compiled step equals the eager one, where there is a compiler
learns    sixty steps on a tiny text teach it more than how often each letter comes
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterator
from functools import partial

import torch
from torch import Tensor

from lmmodel.architecture.check import reduced
from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.finding import Doubtful, Failed, Finding, find
from lmmodel.architecture.model import Model, build
from lmmodel.architecture.roles import roles
from lmmodel.learning import machine
from lmmodel.learning.families import OPTIMIZER, SCHEDULE
from lmmodel.learning.groups import in_groups
from lmmodel.learning.loss import Batch, Objective
from lmmodel.learning.settings import Pretrain
from lmmodel.learning.update import Update
from lmmodel.params.kinds import Chosen, choose

STEPS = 60
_ROWS, _TOKENS = 8, 64
_TEXT = """A design is a list of parts, and each part is a file. One part mixes what the tokens say, one thinks about
each of them alone, one tells where they stand, and one keeps their numbers in hand. Whoever writes a part of their own
wants to know three things about it: whether it can see what is yet to come, whether it still works when the words come
one by one, and whether it learns. This text is here for the last of them: it is short, it says the same letters in the
same order every time, and a model that learns at all will soon know some of it by heart.
"""

CAUSES = {
    "groups": "Modules belong in nn.ModuleList, parameters in attributes or in an nn.ParameterList. A bare one "
    "that is a stack of matrices is listed under `matrices`, and nothing else is.",
    "compiled": "Something depends on more than the inputs: a number that Python reads off a tensor, a list that grows "
    "from pass to pass, a branch on values. Training would run uncompiled, or differ.",
    "learns": "What a part adds is too small to matter or so large that steps overshoot; or a product with something "
    "near 0 stands between the loss and the weights.",
}
"""By the name of the check."""


def proof(
    declaration: Declaration, *, optimizer: Chosen | None = None, only: Container[str] | None = None
) -> Iterator[Finding]:
    """A finding for each check (those in `only`), one by one; none where the model cannot be built."""
    optimizer = optimizer or Pretrain().optimizer
    try:
        model = build(reduced(declaration), seed=0)
    except Exception:  # the hard checks say why
        return
    for name, check in PROOFS.items():
        if only is None or name in only:
            yield find(name, partial(check, model, optimizer), model, cause=CAUSES[name])


def _compiled(model: Model, optimizer: Chosen) -> str:
    """Loss and gradients of one step; a design that cannot be compiled trains all the same, more slowly."""
    if not machine.compiler():
        return "not tried: there is no compiler here"
    batch = Batch(*_batch(model.declaration, step=0))
    eager = _gradients(model, Objective(model), batch)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch._dynamo.reset()
            compiled = _gradients(model, torch.compile(Objective(model), dynamic=False), batch)
    except Exception as error:
        raise Doubtful(f"it cannot be compiled: {type(error).__name__}: {str(error).strip().splitlines()[0]}") from None
    worst, name = max(
        ((float((one - compiled[name]).norm() / one.norm().clamp(min=1e-12)), name) for name, one in eager.items())
    )
    if not worst < 1e-3:
        raise Failed(f"{name} differs by {worst:.2g} of its size", name.rpartition(".")[0])
    return f"equal to eager within {worst:.1g}"


def _gradients(model: Model, objective: Callable[[Batch], object], batch: Batch) -> dict[str, Tensor]:
    """The loss and every gradient, by name."""
    model.train().zero_grad()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        total = objective(batch).total / batch.tokens_BT.numel()  # type: ignore[attr-defined]
    total.backward()
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    return {"the loss": total.detach()} | found


def _learns(model: Model, optimizer: Chosen) -> str:
    """Loss at the first step and over the last five; held against what counting letters would give."""
    declaration = model.declaration
    losses = _trained(build(declaration, seed=0))
    first, last = losses[0], sum(losses[-5:]) / 5
    told = f"loss {first:.2f} to {last:.2f} in {STEPS} steps"
    if not math.isfinite(last):
        raise Failed(
            f"{told}: not finite from step {next(n for n, x in enumerate(losses) if not math.isfinite(x)) + 1} on"
        )
    counted = _counted_nats(_ids(declaration))
    if last >= counted:
        refusal = Failed if last >= (first + counted) / 2 else Doubtful
        raise refusal(f"{told}; counting letters alone gives {counted:.2f}")
    return told


def _trained(model: Model) -> list[float]:
    """The loss of each step, in nats. By AdamW, whatever trains it later: Muon would take four times as long."""
    objective, losses = Objective(model.train()), []
    update = Update(
        dict(model.named_parameters()),
        roles=roles(model),
        optimizer=choose(OPTIMIZER, "adamw"),
        schedule=choose(SCHEDULE, "warmup_stable_decay"),
        clip=1.0,
        dtype=torch.float32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for step in range(STEPS):
            batch = Batch(*_batch(model.declaration, step))
            found = objective(batch)
            losses.append(found.nats.item() / batch.tokens_BT.numel())
            if not math.isfinite(losses[-1]):
                return losses
            model.zero_grad()
            (found.total / batch.tokens_BT.numel()).backward()
            update.apply((step + 0.5) / STEPS, update.norm())
            with torch.no_grad():
                model.adapt(found.reports)
    return losses


def _ids(declaration: Declaration) -> Tensor:
    """The tiny text, a number a letter, within the vocabulary."""
    letters = sorted(set(_TEXT))
    return torch.tensor([letters.index(letter) % declaration.vocab_size for letter in _TEXT])


def _batch(declaration: Declaration, step: int) -> tuple[Tensor, Tensor]:
    """Rows of the text from places drawn by the step, each with the letters that follow."""
    ids_N = _ids(declaration)
    starts_B = torch.randint(len(ids_N) - _TOKENS - 1, (_ROWS,), generator=torch.Generator().manual_seed(step))
    rows_BT = ids_N[starts_B[:, None] + torch.arange(_TOKENS + 1)]
    return rows_BT[:, :-1].contiguous(), rows_BT[:, 1:].contiguous()


def _counted_nats(ids_N: Tensor) -> float:
    """Of a letter, to whoever knows only how often each comes."""
    shares = [count / len(ids_N) for count in Counter(ids_N.tolist()).values()]
    return -sum(share * math.log(share) for share in shares)


PROOFS: dict[str, Callable[[Model, Chosen], str]] = {"groups": in_groups, "compiled": _compiled, "learns": _learns}
