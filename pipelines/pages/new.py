"""A component of your own: a file under experiments/ that works, to be changed where your idea differs.

FAMILY is attention, position, feed_forward, norm or block; NAME becomes experiments/NAME.py. What is written is
checked at once, by the tests that every design passes before it is trained. About twenty lines of it are the component,
the rest is what every component has.
"""

from __future__ import annotations

import argparse
import keyword
import time
from collections.abc import Iterator
from pathlib import Path

from lmmodel.architecture.families import PARTS
from lmmodel.params.kinds import OWN_FOLDER, Family
from lmmodel.params.refusal import Refusal, suggestion
from pipelines import wording
from pipelines.placing import placed

TEMPLATES = Path(__file__).parents[1] / "templates"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which part, and what it is called."""
    parser.add_argument("family", metavar="FAMILY", help=", ".join(PARTS))
    parser.add_argument("name", metavar="NAME", help="in small letters, digits and _: it becomes experiments/NAME.py")


def show(told: argparse.Namespace) -> None:
    """Write the file, check it, and say what to type next."""
    if told.family not in PARTS:
        names = list(PARTS)
        raise Refusal(f"lmmodel new: '{told.family}' is not one of {', '.join(names)}{suggestion(told.family, names)}")
    family = PARTS[told.family]
    path = written(family, told.name)
    began, found = time.perf_counter(), faults(path)
    if found:
        raise Refusal("\n".join([f"{path.as_posix()} is written, and is not sound as it stands:", *found]))
    print("\n".join(page(family, path, time.perf_counter() - began)))


def written(family: Family, name: str) -> Path:
    """The new file, relative to the project; a Refusal where the name is no name, or taken."""
    if not name.isidentifier() or name != name.lower() or name.startswith("_") or keyword.iskeyword(name):
        raise Refusal(f"lmmodel new: '{name}' should be small letters, digits and _, such as my_{family.name}")
    if name in family.names():
        raise Refusal(f"lmmodel new: '{name}' is a kind of {family.name} already: choose another name")
    path = Path(OWN_FOLDER, f"{name}.py")
    if not path.parent.is_dir():
        raise Refusal(f"lmmodel new: there is no folder {OWN_FOLDER}/ here ({Path.cwd().name}/)")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write((TEMPLATES / f"{family.name}.py").read_text(encoding="utf-8").replace("NAME", name))
    except FileExistsError:
        raise Refusal(f"lmmodel new: {path.as_posix()} is there already, and is left as it is") from None
    return path


def faults(path: Path) -> list[str]:
    """What the hard checks find wrong with the new file, put into a small design."""
    from lmmodel.architecture.check import hard

    _, declaration = placed(path.as_posix())
    return [finding.text for finding in hard(declaration) if finding.stops]


def page(family: Family, path: Path, seconds: float) -> Iterator[str]:
    """What was written, that it is sound, and what comes next."""
    kind = path.as_posix()
    yield f"{kind} works as it stands: {family.summary(kind).partition(' (One line')[0]}"
    yield f"checked in {wording.duration(seconds)}, sound"
    yield ""
    yield from _step("Change", f"the docstring, class Options, and what class {family.member} computes")
    yield from _step("Prove", f"lmmodel check {kind}")
    yield from _step(
        "Use", f"`{family.name}: {kind}` under model.design in params.yaml; then lmmodel design, dvc repro"
    )
    yield from _step("Keep", f"git add {kind}: a queued experiment sees only what git tracks")


def _step(head: str, text: str) -> list[str]:
    return wording.entry(head, text, at=12, indent=2)
