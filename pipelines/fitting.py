"""`lmmodel design --fit`: the size at which a design fills a budget, and how to train it, as a file of one's own."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.params.kinds import OWN_FOLDER
from lmmodel.params.refusal import Refusal
from pipelines import dial, wording
from pipelines.dial import Dialled
from pipelines.parameters import Parameters
from pipelines.sizing import Sizing

if TYPE_CHECKING:
    from lmmodel.architecture.fit import Size

_SHALLOW = (2, 4)  # layers of each sort
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
_SECONDS = {"S": 1.0, "SECOND": 1.0, "MIN": 60.0, "MINUTE": 60.0, "H": 3600.0, "HOUR": 3600.0, "DAY": 86_400.0}
_AS_IT_IS = "this size"
_BYTES = {"MB": 1e6, "GB": 1e9, "TB": 1e12, "MIB": 2.0**20, "GIB": 2.0**30}


@dataclass(frozen=True)
class Budget:
    """`bytes`: of all tensors of a training alive at once, or `parameters`, or `seconds` of training on this machine.

    `size`: the design's own; only how to train it is asked.
    """

    text: str
    amount: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`24 GB`, `100M parameters`, `10 minutes`, `this size`; a Refusal of anything else."""
        if text.strip().lower() == _AS_IT_IS:
            return cls(text, 0.0, "size")
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*([a-z]*)(?:\s*(param\w*))?\s*", text.lower())
        if found and float(found[1]) > 0:
            number, unit = float(found[1]), found[2].upper()
            if found[3] and unit in _UNITS:
                return cls(text, number * _UNITS[unit], "parameters")
            if unit.startswith("PARAM"):
                return cls(text, number, "parameters")
            if not found[3] and unit in _BYTES:
                return cls(text, number * _BYTES[unit], "bytes")
            if not found[3] and (unit := unit if unit in _SECONDS else unit.removesuffix("S")) in _SECONDS:
                return cls(text, number * _SECONDS[unit], "seconds")
        choices = f"'24 GB' or '100M parameters', or a time as '10 minutes', or '{_AS_IT_IS}'"
        raise Refusal(f"lmmodel design: --fit '{text}' is no budget: write {choices}")


@dataclass(frozen=True)
class Fitted:
    """A design at a new size: the section `model` that says so, what it means, what it takes, how to train it."""

    model: dict[str, Any]
    declaration: Declaration
    taken: float
    dialled: Dialled


class Fit:
    """The search for a size, for the design that `given` stands for (`name`: in the place of its own).

    told: values of the training that are not to be found, by key.
    """

    def __init__(
        self, given: Parameters, name: str | None, budget: Budget, *, told: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.given, self.budget, self.told = given, budget, told
        self.sizing = Sizing(given, name)
        self._lines: dict[int, tuple[list[float | None], int]] = {}

    def found(self) -> Fitted:
        """The size that fills the budget; a Refusal where none is small enough."""
        size = self.sizing.own if self.budget.unit == "size" else self._searched()
        declaration = None if size is None else self.sizing.declared(size)
        if size is None or declaration is None:
            raise Refusal(f"lmmodel design: no size of this design is within {self.budget.text}")
        how = dial.dialled(self.given, declaration, self.told)
        dial.settled(self.given, how, declaration)
        return Fitted(self.sizing.section(size), declaration, self.taken(declaration), how)

    def _searched(self) -> Size | None:
        from lmmodel.architecture.fit import fitted

        cost = self._cost if self.budget.unit == "parameters" else self._estimate
        size = fitted(self.sizing.own, cost, self.budget.amount)
        while size and not self._fits(size):
            size = replace(size, depth=size.depth - 1) if size.depth > 1 else None
        while size and self._fits(deeper := replace(size, depth=size.depth + 1)):
            size = deeper
        return size

    def _fits(self, size: Size) -> bool:
        taken = self._cost(size)
        return taken is not None and taken <= self.budget.amount

    def _cost(self, size: Size) -> float | None:
        declaration = self.sizing.declared(size)
        return None if declaration is None else self.taken(declaration)

    def _estimate(self, size: Size) -> float | None:
        """As the depth grows, a straight line through two shallow models of this width; checked in the end.

        Of seconds, what one token takes grows so; the tokens are those of the size itself.
        """
        declaration = self.sizing.declared(size)
        if declaration is None:
            return None
        if size.heads not in self._lines:
            sorts = len(set(self.given.declaration.names)) or 1
            shallow = [self.sizing.declared(replace(size, depth=depth * sorts)) for depth in _SHALLOW]
            ends = [None if one is None else self._each(one) for one in shallow]
            self._lines[size.heads] = ends, sorts
        (low, high), sorts = self._lines[size.heads]
        if low is None or high is None:
            return self._cost(size)
        each = (high - low) / (_SHALLOW[1] - _SHALLOW[0]) / sorts
        return (low + each * (size.depth - _SHALLOW[0] * sorts)) * self._often(declaration)

    def taken(self, declaration: Declaration) -> float:
        """Of the budget's unit; of a size as it is, parameters."""
        return self._each(declaration) * self._often(declaration)

    def _often(self, declaration: Declaration) -> int:
        if self.budget.unit != "seconds":
            return 1
        return dial.dialled(self.given, declaration, self.told).tokens

    def _each(self, declaration: Declaration) -> float:
        """Of the budget's unit; seconds of one token."""
        if self.budget.unit in ("parameters", "size"):
            from lmmodel.architecture.fit import parameters

            return parameters(declaration)
        if self.budget.unit == "seconds":
            how = dial.dialled(self.given, declaration, self.told)
            section = dial.settled(self.given, how, declaration)
            return dial.seconds_per_token(self.given, section, declaration)
        from lmmodel.learning.rehearsal import rehearse

        section = self.given.sections["pretrain"]
        precision = "bfloat16" if section.precision == "auto" else section.precision  # type: ignore[attr-defined]
        (one,) = rehearse(declaration, section, precision=precision, sequences=(self.rows,))  # type: ignore[arg-type]
        return one.peak_bytes

    @property
    def rows(self) -> int:
        """Sequences at once, where memory is the budget: as `launch` says, one where it leaves that open."""
        told = self.given.launch.micro_batch_sequences
        return 1 if told == "auto" else int(told)


def write(fit: Fit, name: str | None) -> tuple[Path, Fitted]:
    """Find the size and write its file; a Refusal where there is one already, before anything is searched."""
    stem = Path(name).stem if name else "params"
    words = re.sub(r"[^a-z0-9]+", "_", fit.budget.text.lower()).strip("_")
    path = Path(OWN_FOLDER, f"{stem}_{words}.yaml")
    if path.exists():
        raise Refusal(f"{path}: is there already; `lmmodel design {path}` shows it. Remove it to search again")
    found = fit.found()
    path.parent.mkdir(exist_ok=True)
    path.write_text(_text(fit, found), encoding="utf-8")
    return path, found


def page(path: Path, fit: Fit, found: Fitted) -> Iterator[str]:
    """What was found, and how it is used."""
    known, one = fit.given.declaration, found.declaration
    yield f"{path}: width {one.width:,}, depth {one.depth}, {one.heads} heads of {one.head_width}: {_taken(fit, found)}"
    before, after = known.width / known.depth, one.width / one.depth
    if fit.budget.unit != "size":
        yield f"  width over depth {after:.0f}, before {before:.0f}; one layer more would be beyond the budget"
    yield from dial.lines(found.dialled)
    yield "  where to begin: every value is yours to change there, or beforehand: --with pretrain.batch_tokens=4096"
    yield from wording.entry(f"  lmmodel design {path}", "drawn and counted", at=50)
    yield from wording.entry(f"  lmmodel trial . {path}", "put to the test", at=50)
    yield "  to train it, let its sections `model` and `pretrain` take the place of those in params.yaml"


def _taken(fit: Fit, found: Fitted) -> str:
    if fit.budget.unit in ("parameters", "size"):
        return f"{found.taken:,.0f} parameters"
    if fit.budget.unit == "seconds":
        return f"{wording.duration(found.taken)} of training on this machine, not compiled"
    rows = wording.several(fit.rows, "sequence")
    return f"{wording.storage(found.taken)} at the peak of a training step, {rows} at once"


def _text(fit: Fit, found: Fitted) -> str:
    from ruamel.yaml import YAML

    stream = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 110
    yaml.dump({"model": found.model, "pretrain": found.dialled.section}, stream)
    sources = "".join(f"# pretrain.{key}: {source}\n" for key, source in found.dialled.sources.items())
    return f"# The size that fills {fit.budget.text}: {_taken(fit, found)}.\n{sources}{stream.getvalue()}"
