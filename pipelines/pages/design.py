"""A design drawn, checked, counted and timed: the one in params.yaml, or another in its place.

Counts are of the built model, not of formulas: parts of one's own are counted like those that came with the project.
NAME is a published design. FILE holds parts as they stand under `design`, or sections in place of those of params.yaml.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.resolve import designs, published, resolve
from lmmodel.params.document import Document, read
from lmmodel.params.refusal import Refusal, suggestion
from pipelines import design as stage
from pipelines import dial, fitting, pace, parameters, planning, wording
from pipelines.contrast import contrasted
from pipelines.drawing import Counts, drawn
from pipelines.foreseen import Foreseen, foreseen, taught
from pipelines.parameters import Parameters
from pipelines.sizing import Sizing

if TYPE_CHECKING:
    from lmmodel.learning.plan import Plan


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which design, and how it is shown."""
    parser.add_argument("design", nargs="?", metavar="NAME|FILE", help=f"{', '.join(designs())}, or a YAML file")
    parser.add_argument(
        "--published",
        action="store_true",
        help="NAME at the size at which it was published, checked at that of params.yaml",
    )
    parser.add_argument("--against", metavar="NAME|FILE", help="another design: what differs, and what that costs")
    parser.add_argument(
        "--fit",
        metavar="BUDGET",
        help="'24 GB', '100M parameters' or '10 minutes': the size that fills it, and how to train it by published "
        "rules, as a file in experiments/; 'this size': only how to train it",
    )
    parser.add_argument(
        "--with",
        action="append",
        dest="overrides",
        default=[],
        metavar="KEY=VALUE",
        help="with --fit: a value of your own, as pretrain.batch_tokens=4096; what follows from it follows",
    )
    parser.add_argument("--measure", action="store_true", help="time this machine anew first, up to half a minute")
    parser.add_argument("--json", action="store_true", help="the declaration and its counts as data")


def show(told: argparse.Namespace) -> None:
    """Print the drawing, or the data; with --fit write a design of another size instead."""
    given = chosen(told.design, published_size=told.published)
    if told.overrides and not told.fit:
        raise Refusal("lmmodel design: --with says what --fit is not to find; elsewhere change params.yaml")
    if told.fit:
        _fit(told, given)
        return
    if told.against:
        other = chosen(told.against, published_size=False)
        one = _judged(told.design, given, is_published=told.published)
        print("\n".join(contrasted(one, _judged(told.against, other, is_published=False))))
        return
    began = time.perf_counter()
    smaller = _checked(told.design, given, is_published=told.published)
    counts = stage.judged(given.declaration, smaller=smaller)
    seconds = time.perf_counter() - began
    if not told.json:
        name = told.design or f"{given.document.name}:{given.document.line(('model',))}"
        print("\n".join(head(name, given.declaration, seconds, smaller=smaller)), flush=True)
        print("\n".join([*drawn(given.declaration, counts), ""]), flush=True)
    plan = planning.decided(given, counts)
    if told.measure:
        _measured(plan, given)
    view, tuned = foreseen(given, plan), taught(given, plan.device)
    rows = planning.rows(given, counts, view, plan)
    if told.json:
        print(json.dumps(_data(given, counts, view, rows, tuned), indent=1))
        return
    print("\n".join([*planning.costs(given, counts, view, tuned), "", *planning.by_context(given, view), ""]))
    print("\n".join([*planning.table(rows, plan), *planning.known_run(given, counts)]))


def _fit(told: argparse.Namespace, given: Parameters) -> None:
    budget = fitting.Budget.parse(told.fit)
    fit = fitting.Fit(given, told.design, budget, told=dial.overrides(told.overrides))
    if budget.unit in ("bytes", "seconds"):
        print("going through training steps of some sizes, which takes about a minute", file=sys.stderr)
    if told.measure:
        counts = stage.judged(given.declaration, smaller=_checked(told.design, given, is_published=False))
        _measured(planning.decided(given, counts), given)
    path, found = fitting.write(fit, told.design)
    print("\n".join(fitting.page(path, fit, found)))


def _measured(plan: Plan, given: Parameters) -> None:
    print("timing steps of a few small designs on this machine, up to half a minute", file=sys.stderr)
    pace.measured(plan, given.sections["pretrain"])


def _checked(name: str | None, given: Parameters, *, is_published: bool) -> Declaration | None:
    """The same design at a size at which it is quickly checked; None where its own is."""
    if is_published:
        return chosen(name, published_size=False).declaration
    return Sizing(given, name).quick()


def _data(
    given: Parameters, counts: Counts, view: Foreseen, rows: list[planning.Row], tuned: Foreseen | None
) -> dict[str, Any]:
    lines = {part: {"fixed": fixed, "for_each_token_of_context": each} for part, (fixed, each) in view.flops.items()}
    return {
        "declaration": given.declaration.dump(),
        "counts": counts,
        "memory": _memory(view),
        "finetuning": None if tuned is None else _memory(tuned),
        "flops_per_token": lines,
        "on": [asdict(row) for row in rows],
    }


def _memory(view: Foreseen) -> dict[str, Any]:
    one = view.outlook.one
    return {
        "precision": view.precision,
        "learning_parameters": one.learning,
        "weights_bytes": one.weights_bytes,
        "gradients_bytes": one.gradients_bytes,
        "optimizer_bytes": one.optimizer_bytes,
        "activation_bytes_per_sequence": view.outlook.activation_bytes,
        "checkpointed_bytes_per_sequence": view.outlook.checkpointed_bytes,
        "peak_bytes": one.peak_bytes,
    }


def _judged(name: str | None, given: Parameters, *, is_published: bool) -> tuple[str, Declaration, Counts]:
    """One side of two that are set against each other."""
    smaller = _checked(name, given, is_published=is_published)
    return name or given.document.name, given.declaration, stage.judged(given.declaration, smaller=smaller)


def chosen(design: str | None, *, published_size: bool) -> Parameters:
    """params.yaml, with another design in the place of its own."""
    given = parameters.read()
    if published_size:
        return _with_whole_rows(replace(given, declaration=_at_published_size(design)))
    if design is None:
        return given
    if design.endswith((".yaml", ".yml")) and "model" in (variant := read(design)).data:
        data = {**given.document.data, **variant.data}
        return parameters.check(Document(variant.name, data, variant.lines))
    if design not in designs() and not design.endswith((".yaml", ".yml")):
        choices = f"{', '.join(designs())}, or a YAML file in experiments/"
        raise Refusal(f"'{design}' is not one of {choices}{suggestion(design, list(designs()))}")
    declaration = resolve(given.document, vocab_size=given.declaration.vocab_size, design=design)
    return replace(given, declaration=declaration)


def _with_whole_rows(given: Parameters) -> Parameters:
    """With a batch of as many sequences of this context as params.yaml's tokens make, and at least one."""
    section: Any = given.sections["pretrain"]
    context = given.declaration.context
    batch_tokens = max(1, section.batch_tokens // context) * context
    pretrain = section.model_copy(update={"batch_tokens": batch_tokens})
    return replace(given, sections={**given.sections, "pretrain": pretrain})


def _at_published_size(name: str | None) -> Declaration:
    if name not in designs():
        raise Refusal(f"--published needs one of {', '.join(designs())}{suggestion(name or '', list(designs()))}")
    sizes = published(name)
    vocab_size = sizes.pop("vocab_size")
    return resolve(Document(name, {"model": {**sizes, "design": name}}, {}), vocab_size=vocab_size)


def head(name: str, declaration: Declaration, seconds: float, *, smaller: Declaration | None = None) -> Iterator[str]:
    """What is shown, that it is sound (itself, or as `smaller`), and what is peculiar about it."""
    heads = f"{declaration.heads} heads of {declaration.head_width}"
    size = f"width {declaration.width:,}, depth {declaration.depth}, {heads}, context {declaration.context:,}"
    line = f"{name}   {size}, vocabulary {declaration.vocab_size:,}"
    where = f" at width {smaller.width:,}" if smaller else ""
    verdict = f"checked{where} in {wording.duration(seconds)}, sound"
    room = wording.width() - len(line)
    yield from [f"{line}{verdict:>{room}}"] if len(verdict) + 3 <= room else [line, f"  {verdict}"]
    yield from (f"  remark: {remark}" for remark in declaration.remarks)
    if declaration.accept:
        yield f"  accepted on purpose: it fails {wording.listed(declaration.accept)}"
    yield ""
