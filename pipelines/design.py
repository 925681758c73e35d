"""The design stage: what stands in `params.yaml`, resolved, checked and counted before anything expensive starts.

It writes the declaration, and for every later stage a plan: the stage's section with nothing left open, and a
fingerprint of the code that the stage uses. The plans are what later stages depend on, so an edit that leaves them as
they were stops here.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lmmodel import folder
from lmmodel.architecture.declaration import Declaration
from lmmodel.params.refusal import Refusal
from pipelines import fingerprint, parameters, paths, record, work

VERDICTS = paths.OWN / "verdicts"
"""The counts of designs that were found sound, by all that the verdict depends on."""

_JUDGES = ("lmmodel.architecture.check", "lmmodel.architecture.count")


def main() -> None:
    """Write `models/design/` and `models/design.json`; ends the process with 1 where the design is not sound."""
    with work.plainly("design"):
        given = parameters.read()
        before = outputs(given)
        counts = judged(given.declaration)
        teachable(given)
        now = parameters.read()
        after = outputs(now)
        if after != before:
            changed = record.values(given.document.data, now.document.data) or record.values(before, after)
            raise Refusal(f"design: while it ran, {record.some(changed)}. Run `dvc repro` again")
        for path, content in after.items():
            folder.write(Path(path), folder.canonical(content))
        folder.write(paths.stage("design").metrics, folder.canonical(counts))


def outputs(given: parameters.Parameters) -> dict[str, dict[str, Any]]:
    """The declaration and the plan of every later stage, by path."""
    plans = {str(paths.stage(name).plan): plan for name, plan in record.plans(given).items()}
    return {str(paths.DECLARATION): given.declaration.dump(), **plans}


def written(given: parameters.Parameters) -> dict[str, bytes]:
    """The files that hold the `outputs`, by path."""
    return {path: folder.canonical(content).encode() for path, content in outputs(given).items()}


def judged(declaration: Declaration, *, smaller: Declaration | None = None) -> dict[str, Any]:
    """What a sound design costs; a Refusal names the component of one that is not sound, and what it did.

    smaller: the same design at a size at which it is checked in its place, where its own would take minutes. A verdict
    is remembered by the declarations, the code that judges and is judged, and torch's version: an edit elsewhere need
    not build a model again.
    """
    checked = smaller or declaration
    code = fingerprint.closure([*_JUDGES, *sorted(record.kinds(declaration))])
    told = {"declaration": declaration.dump(), "checked": checked.dump(), "code": code, "torch": version("torch")}
    key = folder.canonical(told)
    remembered = VERDICTS / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    try:
        return json.loads(remembered.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        counts = _judge(declaration, checked)
    folder.write(remembered, folder.canonical(counts))
    return counts


def teachable(given: parameters.Parameters) -> None:
    """A Refusal where `finetune.method` finds nothing in the declared design to teach: now, not after the pretraining.

    A method that says of itself that it teaches everything, or nothing, is not asked.
    """
    from lmmodel.learning.families import METHOD

    method = given.sections["finetune"].method  # type: ignore[attr-defined]
    if any(METHOD.declares(method.kind, said, method.file) for said in ("learns_all", "skips")):
        return
    from lmmodel.architecture.model import build

    try:
        METHOD.load(method.kind, method.file)(method.options).prepare(build(given.declaration, device="meta"), seed=0)
    except Refusal as refusal:
        raise Refusal(f"{parameters.PARAMS}: {refusal}") from None


def _judge(declaration: Declaration, checked: Declaration) -> dict[str, Any]:
    from lmmodel.architecture import check, count

    faults = [finding.text for finding in check.hard(checked) if finding.stops]
    if faults:
        raise Refusal("\n".join(f"{parameters.PARAMS}: model: {fault}" for fault in faults[:2]))
    return count.measure(declaration).dump()


if __name__ == "__main__":
    main()
