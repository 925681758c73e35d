"""What a training of a design will need, found without training it and remembered by all that it depends on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from lmmodel import folder
from lmmodel.architecture.declaration import Declaration
from pipelines import fingerprint, paths, record
from pipelines.parameters import Parameters

if TYPE_CHECKING:
    from lmmodel.learning.outlook import Outlook
    from lmmodel.learning.plan import Plan

FORESEEN = paths.OWN / "foreseen"

_JUDGES = ("lmmodel.learning.rehearsal", "lmmodel.architecture.count", "lmmodel.architecture.attend")
_ELEMENT_BYTES = {"float32": 4, "bfloat16": 2}


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
    told = {
        "declaration": given.declaration.dump(),
        "optimizer": given.section("pretrain")["optimizer"],
        "precision": plan.precision,
        "code": fingerprint.closure([*_JUDGES, *sorted(record.kinds(given.declaration))]),
        "torch": version("torch"),
    }
    remembered = FORESEEN / f"{hashlib.sha256(folder.canonical(told).encode()).hexdigest()}.json"
    try:
        data = json.loads(remembered.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        data = _found(given, plan)
        folder.write(remembered, folder.canonical(data))
    return _read(data, plan.precision)


def _found(given: Parameters, plan: Plan) -> dict[str, Any]:
    from lmmodel.learning.rehearsal import rehearse

    section: Any = given.sections["pretrain"]
    steps = rehearse(given.declaration, section, precision=plan.precision, sequences=(1, 2))
    return {"steps": [asdict(step) for step in steps], "flops": _flops(given.declaration)}


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


def _read(data: dict[str, Any], precision: str) -> Foreseen:
    from lmmodel.learning.outlook import Outlook
    from lmmodel.learning.rehearsal import Rehearsal, Work

    one, two = (
        Rehearsal(**{**step, "part": Work(**step["part"]), "update": Work(**step["update"])}) for step in data["steps"]
    )
    return Foreseen(Outlook(one, two), precision, {part: tuple(line) for part, line in data["flops"].items()})
