"""One dial: of a design at a size, how long to train it, in what batches, at what rates, after published rules.

What is found are plain values of the section `pretrain`, for a person to read and to change. What the person says
beforehand stands, and what follows from it follows.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.learning import rules
from lmmodel.learning.families import OPTIMIZER
from lmmodel.params.document import Document, parse
from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import settle
from pipelines import pace, wording
from pipelines.parameters import Parameters

_RATES = "adamw_rates"
"""What an optimizer's class calls those of its options that take AdamW's learning rate."""

_KEYS = ("budget.tokens", "batch_tokens", "optimizer.")


@dataclass(frozen=True)
class Dialled:
    """The section `pretrain` as a person would write it, and where each of its dialled values comes from."""

    section: dict[str, Any]
    tokens: int
    batch_tokens: int
    sources: Mapping[str, str]


def overrides(told: Sequence[str]) -> dict[str, Any]:
    """`pretrain.KEY=VALUE` by KEY; a Refusal of what the dial does not set."""
    found = {}
    for text in told:
        name, given, value = text.partition("=")
        key = name.removeprefix("pretrain.")
        if not given or key == name or not key.startswith(_KEYS):
            choices = ", ".join(f"pretrain.{key}{'KEY' if key.endswith('.') else ''}=VALUE" for key in _KEYS)
            raise Refusal(f"lmmodel design: --with '{text}' is not one of {choices}")
        found[key] = parse(f"value: {value}", name="--with").data["value"]
    return found


def dialled(given: Parameters, declaration: Declaration, told: Mapping[str, Any]) -> Dialled:
    """The values for `declaration`, in whole sequences; those in `told` as they are."""
    from lmmodel.architecture.fit import parameters

    tokens = int(told.get("budget.tokens") or rules.tokens(parameters(declaration)))
    wanted = rules.batch_tokens(tokens) / declaration.context
    rows = 1 << max(0, round(wanted).bit_length() - 1)  # the greatest power of two in it: cut and shared evenly
    batch_tokens = int(told.get("batch_tokens") or rows * declaration.context)
    rate = float(f"{rules.adamw_rate(parameters(declaration, inner=True), tokens):.2g}")
    sources = {"budget.tokens": f"{rules.TOKENS_PER_PARAMETER} a parameter (Hoffmann and others, 2022)"}
    sources["batch_tokens"] = "0.58 tokens ** 0.571 (Li and others, 2025), in a power of two of sequences"
    section = _written(given)
    section["budget"], section["batch_tokens"] = {"tokens": tokens}, batch_tokens
    optimizer: Any = given.sections["pretrain"].optimizer  # type: ignore[attr-defined]
    for name in OPTIMIZER.declares(optimizer.kind, _RATES, optimizer.file, default=()):
        section["optimizer"][name] = rate
        sources[f"optimizer.{name}"] = "1.79 inner parameters ** -0.713 tokens ** 0.307 (Li and others, 2025)"
    for key, value in told.items():
        if key.startswith("optimizer."):
            section["optimizer"][key.removeprefix("optimizer.")] = value
        sources[key] = "as you said"
    return Dialled(section, tokens, batch_tokens, sources)


def lines(found: Dialled) -> list[str]:
    """Each dialled value and its source."""
    shown = []
    for key, source in found.sources.items():
        value: Any = found.section
        for word in key.split("."):
            value = value[word]
        told = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"
        shown += wording.entry(f"  pretrain.{key}: {told}", source, at=50)
    return shown


def settled(given: Parameters, found: Dialled, declaration: Declaration) -> Any:
    """The section, complete; a Refusal of a value that it cannot take."""
    section = settle(
        type(given.sections["pretrain"]), Document("--fit", {"pretrain": found.section}, {}), ("pretrain",)
    )
    try:
        section.sequences(declaration.context)  # type: ignore[attr-defined]
    except ValueError as error:
        raise Refusal(f"--fit: pretrain.batch_tokens {error}") from None
    return section


def seconds_per_token(given: Parameters, section: Any, declaration: Declaration) -> float:
    """Of a training of `declaration` as `section` says, uncompiled, on this machine, at the rates measured before."""
    from lmmodel.architecture.fit import parameters
    from lmmodel.learning import plan
    from lmmodel.learning.outlook import Outlook
    from lmmodel.learning.rehearsal import rehearse

    count = parameters(declaration)
    decided = plan.decide(section, given.launch, plan.Work(count, 6.0 * count, declaration.context, 10**9))
    here = pace.known(decided.device, decided.precision, decided.threads)
    if here is None:
        raise Refusal("lmmodel design: nobody knows yet how fast this machine is: add --measure, half a minute once")
    one, two = rehearse(declaration, section, precision=decided.precision, sequences=(1, 2))
    view = Outlook(one, two)
    return here.rates.seconds(view.step(decided.sequences, decided.micro_sequences)) / decided.batch_tokens


def _written(given: Parameters) -> dict[str, Any]:
    """The section as it is written, its optimizer as a mapping; batches of one size, since a warm-up fits one batch."""
    section: dict[str, Any] = copy.deepcopy(dict(given.document.data["pretrain"] or {}))
    section.pop("batch_warmup", None)
    optimizer = section.get("optimizer", {"kind": given.sections["pretrain"].optimizer.kind})  # type: ignore[attr-defined]
    section["optimizer"] = {"kind": optimizer} if isinstance(optimizer, str) else dict(optimizer)
    return section
