"""What a check found: whether it passed, where it failed and by how much, whose fault it is, what usually causes it.

passed      it holds                        accepted    it fails, and `model.accept` says that it may
FAILED      it does not: the design stops   doubtful    it is out of the usual, which may well be meant
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lmmodel.architecture.compare import Broken, raised_in
from lmmodel.architecture.count import part_of
from lmmodel.architecture.model import Model


@dataclass(frozen=True)
class Finding:
    """What a check found. component: what is to blame, where that is known; cause: what usually is behind such a fault;
    accepted: it was declared to fail; doubtful: it did not pass, and that alone stops nothing.
    """

    name: str
    passed: bool
    found: str
    component: str = ""
    accepted: bool = False
    cause: str = ""
    doubtful: bool = False

    @property
    def stops(self) -> bool:
        """Whether the pipeline must not go on."""
        return not (self.passed or self.accepted or self.doubtful)

    @property
    def verdict(self) -> str:
        """One word for people."""
        return "ok" if self.passed else "accepted" if self.accepted else "doubtful" if self.doubtful else "FAILED"

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.component or 'the design'} fails '{self.name}': {self.found}"


class Failed(Exception):  # noqa: N818 - an answer of a check, not an accident
    """A check has failed, in words, and by whom; `cause` where it is known better than from the check's name."""

    def __init__(self, found: str, module: str | None = None, *, cause: str = "") -> None:
        super().__init__(found)
        self.module, self.cause = module, cause


class Doubtful(Failed):
    """Out of the usual, which may well be meant."""


def find(name: str, check: Callable[[], str], model: Model, *, cause: str = "") -> Finding:
    """The finding of one check, which returns what it found, or raises."""
    try:
        return Finding(name, True, check())
    except Failed as failed:
        component, doubtful = describe(model, failed.module), isinstance(failed, Doubtful)
        return Finding(name, False, str(failed), component, cause=failed.cause or cause, doubtful=doubtful)
    except Broken as broken:
        return Finding(name, False, f"it raises {broken}", describe(model, broken.module))
    except Exception as error:
        component = describe(model, raised_in(model, error))
        return Finding(name, False, f"it raises {type(error).__name__}: {error}", component)


def describe(model: Model, name: str | None) -> str:
    """What a module is, for people: its family and kind, and the layer it stands in."""
    words = (name or "").split(".")
    declaration = model.declaration
    if words[0] not in ("layers", "ahead"):
        whole = {"position": f"position {declaration.position.kind}", "norm": f"norm {declaration.norm.kind}"}
        return whole.get(words[0], words[0].replace("_", " "))
    layer = declaration.layers[int(words[1])] if words[0] == "layers" else declaration.layers[-1]
    place = declaration.names[int(words[1])] if words[0] == "layers" else f"what predicts {int(words[1]) + 2} tokens on"
    part = part_of(".".join(["layers", *words[1:]]))
    within = words[2:] if part == "block" else words[3:]
    inner = f" ({'.'.join(within)})" if within else ""
    with_position = f" with position {layer.position.kind}" if part == "attention" and not inner else ""
    return f"{part} {getattr(layer, part).kind}{with_position} in {place}{inner}"
