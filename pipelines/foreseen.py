"""What a training of a design will need, found without training it and remembered by all that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from lmmodel import folder
from lmmodel.architecture.declaration import Declaration
from lmmodel.learning.families import METHOD
from lmmodel.params.refusal import Refusal
from pipelines import fingerprint, paths, record
from pipelines.parameters import PARAMS, Parameters

if TYPE_CHECKING:
    from lmmodel.learning.outlook import Outlook
    from lmmodel.learning.plan import Plan

FORESEEN = paths.OWN / "foreseen"

_JUDGES = ("lmmodel.learning.rehearsal", "lmmodel.architecture.count", "lmmodel.architecture.attend")
_ELEMENT_BYTES = {"float32": 4, "autocast": 3, "bfloat16": 2, "float8": 2}  # autocast keeps both kinds


@dataclass(frozen=True)
class Foreseen:
    """A step as rehearsed in `precision`, and forward FLOPs of a token by part: at a context of 0, and for each token
    of context more.
    """

    outlook: Outlook
    precision: str
    flops: dict[str, tuple[float, float]]

    def outlook_in(self, precision: str) -> Outlook:
        """The outlook for a device that computes in another precision: activations in proportion."""
        return replace(self.outlook, narrower=_ELEMENT_BYTES[precision] / _ELEMENT_BYTES[self.precision])

    def flops_at(self, context: int) -> dict[str, float]:
        """Forward FLOPs of a token by part, were the context this."""
        return {part: fixed + each * context for part, (fixed, each) in self.flops.items()}


def foreseen(given: Parameters, plan: Plan) -> Foreseen:
    """For the declared design and the optimizer of `pretrain`, in the plan's precision."""

    def find() -> dict[str, Any]:
        return {"steps": _steps(given, "pretrain", plan.precision), "flops": _flops(given.declaration)}

    told = {**_held(given, "pretrain"), "precision": plan.precision}
    data = _remembered(given, told, find)
    flops = {part: tuple(line) for part, line in data["flops"].items()}
    return Foreseen(_outlook(data["steps"]), plan.precision, flops)


def taught(given: Parameters, device: str) -> Foreseen | None:
    """Of a fine-tuning in which fewer than all weights learn; None where all do, or nothing is to be done.

    A Refusal where its method finds nothing to teach in this design.
    """
    from lmmodel.learning import machine

    section: Any = given.sections["finetune"]
    method = section.method
    if any(METHOD.declares(method.kind, name, method.file) for name in ("skips", "learns_all")):
        return None
    precision = machine.precision(section.precision, device)
    told = {**_held(given, "finetune"), "method": method.dump(), "precision": precision}
    try:
        data = _remembered(given, told, lambda: {"steps": _steps(given, "finetune", precision)})
    except Refusal as refusal:
        raise Refusal(f"{PARAMS}: {refusal}") from None
    return Foreseen(_outlook(data["steps"]), precision, {})


def _held(given: Parameters, stage: str) -> dict[str, Any]:
    """What of a section decides how much a step holds."""
    section = given.section(stage)
    return {key: section[key] for key in ("optimizer", "ema", "early_stopping", "dropout")}


def _remembered(given: Parameters, told: dict[str, Any], find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `find` finds, kept for who asks again with the same design, code and `told`."""
    chosen = [given.declaration, *([given.sections["finetune"]] if "method" in told else [])]
    told = {
        **told,
        "declaration": given.declaration.dump(),
        "code": fingerprint.closure([*_JUDGES, *sorted(record.kinds(chosen))]),
        "torch": version("torch"),
    }
    path = FORESEEN / f"{hashlib.sha256(folder.canonical(told).encode()).hexdigest()}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = find()
        folder.write(path, folder.canonical(found))
    return found


def _steps(given: Parameters, stage: str, precision: str) -> list[dict[str, Any]]:
    from lmmodel.learning.rehearsal import rehearse

    section: Any = given.sections[stage]
    return [asdict(step) for step in rehearse(given.declaration, section, precision=precision, sequences=(1, 2))]


def _flops(declaration: Declaration) -> dict[str, tuple[float, float]]:
    """By part: fixed, and for each token of context. Measured at two contexts: torch's formulas are straight lines."""
    from lmmodel.architecture import count

    longer = declaration.model_copy(update={"context": 2 * declaration.context})
    one, two = (count.measure(item).parts for item in (declaration, longer))
    found = {}
    for part in one:
        each = (two[part].flops_per_token - one[part].flops_per_token) / declaration.context
        found[part] = (one[part].flops_per_token - each * declaration.context, each)
    return {part: line for part, line in found.items() if any(line)}


def _outlook(steps: list[dict[str, Any]]) -> Outlook:
    from lmmodel.learning.outlook import Outlook
    from lmmodel.learning.rehearsal import Rehearsal, Work

    one, two = (Rehearsal(**{**step, "part": Work(**step["part"]), "update": Work(**step["update"])}) for step in steps)
    return Outlook(one, two)
