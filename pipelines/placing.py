"""One component file, put into a small design that fits it: what `lmmodel check experiments/mine.py` checks."""

from __future__ import annotations

import ast
from typing import Any

from pydantic import ValidationError

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.families import PARTS
from lmmodel.architecture.resolve import resolve
from lmmodel.architecture.together import declared
from lmmodel.params.document import Document
from lmmodel.params.kinds import Chosen, Family, parsed
from lmmodel.params.refusal import Refusal

SIZE = {"width": 64, "depth": 2, "heads": 4, "context": 128}
VOCAB_SIZE = 97


def placed(kind: str) -> tuple[Family, Declaration]:
    """The family of the component in file `kind`, and a design with it; a Refusal where there is none, or many."""
    family = family_of(kind)
    design: dict[str, Any] = {family.name: kind}
    if family.name == "attention":
        design["position"] = _position(family, kind)
    return family, resolve(Document(kind, {"model": {**SIZE, "design": design}}, {}), vocab_size=VOCAB_SIZE)


def family_of(kind: str) -> Family:
    """The one family whose class the file defines."""
    tree = parsed(next(iter(PARTS.values())).file(kind), kind)
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    found = [family for family in PARTS.values() if family.member in defined]
    if len(found) != 1:
        members = ", ".join(family.member for family in PARTS.values())
        what = f"{' and '.join(family.member for family in found)}" if found else "none"
        raise Refusal(f"{kind}: a component defines one class of {members}; it defines {what}")
    return found[0]


def _position(family: Family, kind: str) -> str:
    """A position that a mixer has a use for."""
    try:
        chosen = Chosen(kind, family.options(kind)())
    except ValidationError:
        return "none"  # an option that has no default is refused, by its name, where the design is resolved
    honours = declared(family, chosen, "honours") or ()
    if "queries and keys" in honours:
        return "rotary"
    return "alibi" if "scores" in honours else "none"
