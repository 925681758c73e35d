"""A design at other sizes, its proportions kept: where `--fit` searches, and where a large one is quickly checked."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.resolve import designs, parts_told, resolve
from lmmodel.params.document import Document
from lmmodel.params.refusal import Refusal
from pipelines.parameters import Parameters

if TYPE_CHECKING:
    from lmmodel.architecture.fit import Size

_QUICK = 4_000_000
"""Parameters up to which a model is quickly checked: each layer that is unlike the others once, few words."""


class Sizing:
    """The design that `given` stands for (`name`: in the place of its own), as it is written for any size."""

    def __init__(self, given: Parameters, name: str | None) -> None:
        self.given = given
        model = given.document.data["model"]
        self._told = {key: value for key, value in model.items() if key != "design"}
        other = None if given.document.name == name else name  # a file with a section `model` is the document itself
        written = other or model.get("design", {})
        is_published = isinstance(written, str) and written in designs()
        self._design = written if is_published else self._in_proportion(parts_told(given.document, other))

    def _in_proportion(self, design: dict[str, Any]) -> Any:
        from lmmodel.architecture.fit import in_proportion

        return in_proportion(design, width=self.given.declaration.width, heads=self.given.declaration.heads)

    @property
    def own(self) -> Size:
        """The size that the design has."""
        from lmmodel.architecture.fit import Size

        known = self.given.declaration
        return Size(known.width, known.depth, known.heads)

    def section(self, size: Size) -> dict[str, Any]:
        """The section `model` of the design at `size`."""
        return {**self._told, **asdict(size), "context": self.given.declaration.context, "design": self._design}

    def declared(self, size: Size) -> Declaration | None:
        """The design at `size`; None where it has no such size."""
        document = Document("size", {"model": self.section(size)}, {})
        try:
            return resolve(document, vocab_size=self.given.declaration.vocab_size)
        except Refusal:
            return None

    def quick(self) -> Declaration | None:
        """The same layers, narrower: as many heads of the same width as can be checked in seconds.

        None where the design is that small itself, or its parts fit no other width.
        """
        taken = _checked_parameters(self.given.declaration)
        if taken is None or taken <= _QUICK:
            return None
        found = None
        for heads in range(1, self.own.heads):
            size = self.own.wider(heads)
            declaration = None if size is None else self.declared(replace(size, depth=self.own.depth))
            taken = None if declaration is None else _checked_parameters(declaration)
            if taken is not None:
                if found is not None and taken > _QUICK:
                    break
                found = declaration
        return found


def _checked_parameters(declaration: Declaration) -> int | None:
    """Of the model that the checks build; None where it cannot be built."""
    from lmmodel.architecture.check import reduced
    from lmmodel.architecture.model import build

    try:
        return sum(parameter.numel() for parameter in build(reduced(declaration), device="meta").parameters())
    except Exception:  # a component's own, which holds at the design's own width
        return None
