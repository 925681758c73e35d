"""A design drawn, checked, counted and timed: the one in params.yaml, or another in its place.

Counts are of the built model, not of formulas: parts of one's own are counted like those that came with the project.
NAME is a published design. FILE holds parts as they stand under `design`, or sections in place of those of params.yaml.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.resolve import designs, published, resolve
from lmmodel.params.document import Document, read
from lmmodel.params.refusal import Refusal, suggestion
from pipelines import design as stage
from pipelines import pace, parameters, paths, record, standing, wording
from pipelines.contrast import contrasted
from pipelines.drawing import Counts, drawn
from pipelines.pages import plan
from pipelines.parameters import Parameters

_MATRIX_STATE = {"muon": 4}
"""Bytes that an optimizer keeps for each number of a matrix, where they are not AdamW's 8."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which design, and how it is shown."""
    parser.add_argument("design", nargs="?", metavar="NAME|FILE", help=f"{', '.join(designs())}, or a YAML file")
    parser.add_argument("--published", action="store_true", help="NAME at the size at which it was published")
    parser.add_argument("--against", metavar="NAME|FILE", help="another design: what differs, and what that costs")
    parser.add_argument("--json", action="store_true", help="the declaration and its counts as data")


def show(told: argparse.Namespace) -> None:
    """Print the drawing, or the data."""
    given = chosen(told.design, published_size=told.published)
    if told.against:
        other = chosen(told.against, published_size=False)
        sides = [(name, item.declaration, stage.judged(item.declaration)) for name, item in _named(told, given, other)]
        print("\n".join(contrasted(*sides)))
        return
    began = time.perf_counter()
    counts = stage.judged(given.declaration)
    seconds = time.perf_counter() - began
    if told.json:
        print(json.dumps({"declaration": given.declaration.dump(), "counts": counts}, indent=1))
        return
    name = told.design or f"{given.document.name}:{given.document.line(('model',))}"
    print("\n".join(head(name, given.declaration, seconds)), flush=True)
    print("\n".join([*drawn(given.declaration, counts), "", *costs(given, counts)]), flush=True)
    print("\n".join(timed(given, counts)))


def _named(told: argparse.Namespace, given: Parameters, other: Parameters) -> list[tuple[str, Parameters]]:
    return [(told.design or given.document.name, given), (told.against, other)]


def chosen(design: str | None, *, published_size: bool) -> Parameters:
    """params.yaml, with another design in the place of its own."""
    given = parameters.read()
    if published_size:
        return replace(given, declaration=_at_published_size(design))
    if design is None:
        return given
    if design.endswith((".yaml", ".yml")) and "model" in (variant := read(design)).data:
        data = {**given.document.data, **variant.data}
        return parameters.check(Document(variant.name, data, variant.lines))
    declaration = resolve(given.document, vocab_size=given.declaration.vocab_size, design=design)
    return replace(given, declaration=declaration)


def _at_published_size(name: str | None) -> Declaration:
    if name not in designs():
        raise Refusal(f"--published needs one of {', '.join(designs())}{suggestion(name or '', list(designs()))}")
    sizes = published(name)
    vocab_size = sizes.pop("vocab_size")
    return resolve(Document(name, {"model": {**sizes, "design": name}}, {}), vocab_size=vocab_size)


def head(name: str, declaration: Declaration, seconds: float) -> Iterator[str]:
    """What is shown, that it is sound, and what is peculiar about it."""
    heads = f"{declaration.heads} heads of {declaration.head_width}"
    size = f"width {declaration.width:,}, depth {declaration.depth}, {heads}, context {declaration.context:,}"
    line = f"{name}   {size}, vocabulary {declaration.vocab_size:,}"
    verdict = f"checked in {wording.duration(seconds)}, sound"
    room = wording.width() - len(line)
    yield from [f"{line}{verdict:>{room}}"] if len(verdict) + 3 <= room else [line, f"  {verdict}"]
    yield from (f"  remark: {remark}" for remark in declaration.remarks)
    if declaration.accept:
        yield f"  accepted on purpose: it fails {wording.listed(declaration.accept)}"
    yield ""


def costs(given: Parameters, counts: Counts) -> Iterator[str]:
    """To train, in memory, to decode."""
    section: Any = given.sections["pretrain"]
    training = counts["training_flops_per_token"]
    budget = budget_tokens(given, counts)
    spent = f"budget {wording.short(budget)} tokens = {wording.flops(budget * training)}; " if budget else ""
    advice = f"20 tokens a parameter would be {wording.short(20 * counts['parameters'])}"
    yield from _cost("to train", f"{wording.short(training)}FLOP a token; {spent}{advice}")
    activations = wording.storage(counts["activation_bytes"])
    by_role = counts["parameters_by_role"]
    state = _MATRIX_STATE.get(section.optimizer.kind, 8) * by_role.get("matrix", 0)
    others = 8 * (counts["parameters"] - by_role.get("matrix", 0))
    kept = wording.storage(8 * counts["parameters"] + state + others)
    yield from _cost(
        "in memory", f"{kept} weights, gradients, {section.optimizer.kind}; {activations} a sequence of activations"
    )
    token, whole = wording.storage(counts["cache_bytes_per_token"]), wording.storage(counts["cache_bytes"])
    yield from _cost("to decode", f"{token} of cache a token, {whole} at the full context")


def budget_tokens(given: Parameters, counts: Counts) -> float | None:
    """What the budget of pretraining comes to in tokens; None where only the data can tell and is not there."""
    budget = given.sections["pretrain"].budget  # type: ignore[attr-defined]
    if budget.tokens is not None:
        return float(budget.tokens)
    if budget.flops is not None:
        return float(budget.flops / counts["training_flops_per_token"])
    if budget.tokens_per_parameter is not None:
        return float(budget.tokens_per_parameter * counts["parameters"])
    try:
        shards = json.loads(paths.stage("shards").metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return float(budget.epochs * shards["train"]["tokens"])


def timed(given: Parameters, counts: Counts) -> Iterator[str]:
    """How long the budget takes on this machine."""
    budget = budget_tokens(given, counts)
    if budget is None:
        return
    yield ""
    if (known := _known(given)) is not None:
        yield from _cost(
            "here", f"{wording.duration(known)}: the last run of it, at {round(budget / known, -2):,.0f} tokens/s"
        )
        return
    found = pace.tried(given, counts)
    if found is None:
        yield from _cost("here", "too large to be tried by the way")
        return
    on = wording.several(found.cores, "core") if found.device == "cpu" else found.device
    text = (
        f"{wording.duration(budget / found.tokens_per_second)} at {round(found.tokens_per_second, -2):,.0f} tokens/s "
        f"on {on}, {found.precision}, {found.micro_sequences} sequences at once: measured on a few real steps, not "
        f"compiled"
    )
    yield from _cost("here", text)


def _known(given: Parameters) -> float | None:
    """What the pretraining of exactly this took here, unbroken."""
    item = paths.stage("pretrain")
    found = {one.stage.name: one for one in standing.survey(given)}["pretrain"]
    if not found.is_current:
        return None
    run = plan.timings().get(item.name, {}).get(record.read(item).identity)
    return None if run is None or run.get("resumed") else float(run["seconds"])


def _cost(label: str, text: str) -> list[str]:
    return wording.entry(label, text, at=15, indent=2)
