"""The contract kit: whether a design, or one component of your own, is sound, and how healthy it looks.

NAME is a published design; FILE a design (.yaml) or one component (experiments/mine.py: an attention, a position, a
feed-forward, a norm or a block), which is put into a small design that fits. Without either: the design in params.yaml.

Parameters are redrawn at random, arithmetic is in float64, and there are at least 192 tokens, past every window. What
would take minutes at its own width is checked at a smaller one, where its proportions allow that, and says so. The
first nine tests are hard: a design that fails one stops the pipeline, unless `model.accept` names it. The others look
at the design as it starts and learns. What is only unusual is doubtful, and no failure. Ends with 1 on a failure.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.params.kinds import Chosen
from lmmodel.params.refusal import Refusal, suggestion
from pipelines import wording
from pipelines.pages import design
from pipelines.placing import placed
from pipelines.sizing import Sizing

if TYPE_CHECKING:
    from lmmodel.architecture.finding import Finding

TITLES = {
    "shape": "shape and dtype",
    "causality": "causality",
    "cached": "cached = full",
    "ragged": "left padding",
    "packed": "packed documents",
    "rows": "rows of a batch",
    "gradient": "gradients",
    "counts": "counts",
    "save": "save and load",
    "first loss": "first loss",
    "depth": "scale with depth",
    "bfloat16": "bfloat16",
    "seed": "same seed",
    "groups": "optimizer groups",
    "compiled": "compiled",
    "learns": "learns",
}
"""What each test is called, in the order in which they run; those that `model.accept` may name come first."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is checked, and by which tests."""
    parser.add_argument(
        "design", nargs="?", metavar="NAME|FILE", help="a published design, a .yaml, or a component .py"
    )
    parser.add_argument("--only", action="append", metavar="TEST", help=", ".join(TITLES))
    parser.add_argument("--json", action="store_true", help="the findings as data")


def show(told: argparse.Namespace) -> None:
    """Print each finding as it comes, then how many passed; ends the process with 1 where a test failed."""
    began, only = time.perf_counter(), chosen(told.only)
    declaration, optimizer, subject = subject_of(told.design)
    if not told.json:
        print(subject, end="\n\n", flush=True)
    found = []
    for finding in findings(declaration, optimizer, only):
        found.append(finding)
        if not told.json:
            print("\n".join(rows(finding)), flush=True)
    if told.json:
        print(json.dumps({"subject": subject, "findings": [_data(finding) for finding in found]}, indent=1))
    else:
        print("\n".join(summary(found, told.design, time.perf_counter() - began)))
    if any(finding.stops for finding in found):
        raise SystemExit(1)


def chosen(told: list[str] | None) -> tuple[str, ...]:
    """The tests meant by `--only`, each by its name or by its title; all where none is given."""
    by_word = {title: name for name, title in TITLES.items()} | {name: name for name in TITLES}
    for word in told or ():
        if word not in by_word:
            raise Refusal(f"lmmodel check: '{word}' is not one of {', '.join(TITLES)}{suggestion(word, [*by_word])}")
    return tuple(by_word[word] for word in told) if told else tuple(TITLES)


def subject_of(name: str | None) -> tuple[Declaration, Chosen | None, str]:
    """What is checked, the optimizer that it would meet (the default's where none is told), and a line about it."""
    if name is not None and name.endswith(".py"):
        family, declaration = placed(name)
        part = getattr(declaration.layers[0], family.name)
        told = ", ".join([family.member, *(f"{key} {_number(value)}" for key, value in part.options.dump().items())])
        return declaration, None, f"{name}: {told}, in {_size(declaration)}"
    given = design.chosen(name, published_size=False)
    section: Any = given.sections["pretrain"]
    told, smaller = f"{name or given.document.name}: {_size(given.declaration)}", Sizing(given, name).quick()
    if smaller is not None:
        told += f"\n  checked in the same proportions at width {smaller.width:,}, {smaller.heads} heads: in seconds"
    return smaller or given.declaration, section.optimizer, told


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _size(declaration: Declaration) -> str:
    layers = wording.several(declaration.depth, "layer")
    return f"{layers} of width {declaration.width:,}, {declaration.heads} heads, context {declaration.context:,}"


def findings(declaration: Declaration, optimizer: Chosen | None, only: Collection[str]) -> Iterator[Finding]:
    """Every test's finding, the hard ones first."""
    from lmmodel.architecture.check import hard
    from lmmodel.architecture.soft import soft
    from lmmodel.learning.proof import proof

    broken = False
    for finding in hard(declaration, only=only):
        broken |= finding.name == "shape" and finding.stops
        yield finding
    if not broken:
        yield from soft(declaration, only=only)
        yield from proof(declaration, optimizer=optimizer, only=only)


def rows(finding: Finding) -> list[str]:
    """One finding: its title, the verdict, what was found, whose fault it is, and what usually is behind it."""
    text = f"{finding.component}: {finding.found}" if finding.component else finding.found
    start = f"{TITLES[finding.name]:<19}{finding.verdict:<10}"
    lines = wording.entry(start, text, at=31, indent=2)
    return lines + (wording.entry("", finding.cause, at=31) if finding.cause and finding.stops else [])


def summary(found: list[Finding], name: str | None, seconds: float) -> Iterator[str]:
    """How many passed, and how to see the first failure alone."""
    words = ("ok", "passed"), ("doubtful", "doubtful"), ("accepted", "accepted"), ("FAILED", "failed")
    counts = {word: sum(finding.verdict == verdict for finding in found) for verdict, word in words}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    yield f"\n{told}, {wording.duration(seconds)}"
    failed = [finding.name for finding in found if finding.stops]
    if failed and len(found) > 1:
        only = f'"{failed[0]}"' if " " in failed[0] else failed[0]
        yield f"One test alone: lmmodel check {f'{name} ' if name else ''}--only {only}"


def _data(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "title": TITLES[finding.name], "verdict": finding.verdict, "stops": finding.stops}
