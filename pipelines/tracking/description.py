"""The page that MLflow shows beside a run: how its model is drawn, the table, what it says.

The parts come at different times and from different stages. Each is a text in Markdown under a heading of its own, and
takes the place of the one that had the same; what a person wrote above them stays.
"""

from __future__ import annotations

import json
import re
from typing import Any

PARTS = ("# Design", "# Evaluation", "# Samples")

_COLUMNS = 100  # the same page whoever draws it, with or without a terminal

_BEGINNINGS = re.compile(rf"^(?={'$|'.join(PARTS)}$)", re.MULTILINE)


def put_in(page: str, new: str) -> str:
    """`page` with the part `new` in its place; as it is where the part's heading is none of `PARTS`."""
    known = {_heading(text): text for text in _BEGINNINGS.split(page) if text.strip()}
    order = (*(heading for heading in known if heading not in PARTS), *PARTS)
    known |= {_heading(new): new} if _heading(new) in PARTS else {}
    return "\n\n".join(known[heading].strip() for heading in order if heading in known) + "\n"


def part(page: str, heading: str) -> str:
    """The part of `page` under `heading`, one of `PARTS`; nothing where it has none."""
    return next((text.strip() for text in _BEGINNINGS.split(page) if _heading(text) == heading), "")


def _heading(text: str) -> str:
    return text.lstrip().partition("\n")[0].rstrip()


def design(declaration: dict[str, Any], counts: dict[str, Any]) -> str:
    """The design drawn, with what its parts hold and compute; builds nothing where all layers are alike."""
    from lmmodel.architecture.declaration import Declaration
    from pipelines import describing
    from pipelines.drawing import drawn

    told = Declaration.parse(json.dumps(declaration))
    kinds = list(dict.fromkeys(layer.model_dump_json() for layer in told.layers))
    names = [f"L{kinds.index(layer.model_dump_json()) + 1}" for layer in told.layers]  # a declaration keeps none
    lines = drawn(told.model_copy(update={"names": tuple(names)}), counts, columns=_COLUMNS)
    words = f"{describing.size(declaration)}: {describing.brief(declaration)}"
    return "\n".join([PARTS[0], "", words, "", "```text", *lines, "```"])
