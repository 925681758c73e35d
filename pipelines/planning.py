"""A design's costs in words and tables: to train, in memory, to decode, by length of context, and on what machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmmodel.learning import rules
from pipelines import hardware, pace, paths, record, standing, timings, wording
from pipelines.drawing import Counts
from pipelines.foreseen import Foreseen
from pipelines.parameters import Parameters

if TYPE_CHECKING:
    from lmmodel.learning.outlook import Outlook, Rates
    from lmmodel.learning.plan import Plan, Work

_CONTEXTS = (0.25, 1, 4, 16)  # of the declared one


@dataclass(frozen=True)
class Row:
    """A machine and what a training is on it. most_sequences: rows that its memory holds at once, 0: not even one."""

    name: str
    precision: str
    most_sequences: int
    tokens_per_second: float | None
    seconds: float | None
    source: str


def decided(given: Parameters, counts: Counts) -> Plan:
    """How this machine would go about the pretraining."""
    from lmmodel.learning import plan

    section: Any = given.sections["pretrain"]
    return plan.decide(section, given.launch, _work(given, counts, tokens_per_epoch=10**9))


def costs(given: Parameters, counts: Counts, view: Foreseen, taught: Foreseen | None = None) -> Iterator[str]:
    """To train, in memory, to fine-tune where fewer than all weights learn (`taught`), to decode."""
    section: Any = given.sections["pretrain"]
    training = counts["training_flops_per_token"]
    budget = budget_tokens(given, counts)
    spent = f"budget {wording.short(budget)} tokens = {wording.flops(budget * training)}; " if budget else ""
    advice = wording.short(rules.tokens(counts["parameters"]))
    source = f"{rules.TOKENS_PER_PARAMETER} tokens a parameter (Hoffmann and others, 2022) would be {advice}"
    forward, backward = counts["flops_per_token"], training - counts["flops_per_token"]
    yield from _cost(
        "to train",
        f"{wording.short(training)}FLOP a token, {wording.short(forward)} forward, {wording.short(backward)} backward; "
        f"{spent}{source}",
    )
    one = view.outlook.one
    yield from _cost(
        "in memory",
        f"{wording.storage(one.weights_bytes)} weights, {wording.storage(one.gradients_bytes)} gradients, "
        f"{wording.storage(one.optimizer_bytes)} {section.optimizer.kind}; a sequence's activations "
        f"{wording.storage(view.outlook.activation_bytes)} in {view.precision}, "
        f"{wording.storage(view.outlook.checkpointed_bytes)} were each layer computed again on the way back",
    )
    if taught is not None:
        yield from _cost("to fine-tune", _teaching(given, counts, taught))
    token, whole = wording.storage(counts["cache_bytes_per_token"]), wording.storage(counts["cache_bytes"])
    weights = wording.storage(2 * counts["parameters"])
    yield from _cost(
        "to decode", f"{weights} weights in bfloat16, {token} of cache a token, {whole} at the full context"
    )


def _teaching(given: Parameters, counts: Counts, taught: Foreseen) -> str:
    """What learns, what a token costs, and what is in memory beside the pretrained weights."""
    section: Any = given.sections["finetune"]
    one, outlook = taught.outlook.one, taught.outlook
    flops = (outlook.two.part.flops - one.part.flops) / given.declaration.context
    share = f"{one.learning / counts['parameters']:.2%} of the parameters"
    return (
        f"{section.method.kind}: {one.learning:,} numbers learn, as many as {share}; "
        f"{wording.short(flops)}FLOP a token; "
        f"{wording.storage(one.weights_bytes)} weights, {wording.storage(one.gradients_bytes)} gradients, "
        f"{wording.storage(one.optimizer_bytes)} {section.optimizer.kind}; a sequence's activations "
        f"{wording.storage(outlook.activation_bytes)} in {taught.precision}"
    )


def by_context(given: Parameters, view: Foreseen) -> Iterator[str]:
    """Forward FLOPs of a token by part, at shorter and longer contexts."""
    contexts = [max(1, round(given.declaration.context * factor)) for factor in _CONTEXTS]
    at = [view.flops_at(context) for context in contexts]
    rows = [("  FLOPs a token, at context", *(f"{context:,}" for context in contexts))]
    rows += [(f"    {part}", *(f"{one[part]:,.0f}" for one in at)) for part in view.flops if part != "ahead"]
    totals = [sum(count for part, count in one.items() if part != "ahead") for one in at]
    rows.append(("    forward", *(f"{total:,.0f}" for total in totals)))
    rows.append(("    backward", *(f"{2 * total:,.0f}" for total in totals)))
    yield from wording.table(rows, "<" + ">" * len(contexts))


def table(rows: list[Row], plan: Plan) -> Iterator[str]:
    """Where it could be trained: does it fit, how much at once, how fast, for how long."""
    head = ("  on", "rows at once", "tokens/s", "the budget takes", "")
    shown = [
        (
            f"  {row.name}",
            f"{row.most_sequences:,}" if row.most_sequences else "does not fit",
            f"{_rounded(row.tokens_per_second):,.0f}" if row.tokens_per_second else "-",
            wording.duration(row.seconds) if row.seconds else "-",
            row.source,
        )
        for row in rows
    ]
    yield from wording.table([head, *shown], "<>>><")
    yield from wording.entry(
        "",
        f"rows of {plan.context:,} tokens that fit at once, of {plan.sequences:,} in a batch; not compiled. Sheets are "
        "taken at half of their products, three quarters of their bandwidth and nine tenths of their memory",
        at=2,
    )


def _rounded(number: float) -> float:
    """To three digits: no prediction is better."""
    digits = len(str(int(number)))
    return round(number, min(0, 3 - digits))


def rows(given: Parameters, counts: Counts, view: Foreseen, plan: Plan) -> list[Row]:
    """This machine, then those that there is a sheet of."""
    budget = budget_tokens(given, counts)
    here = pace.known(plan.device, plan.precision, plan.threads)
    on = wording.several(plan.threads, "core") if plan.device == "cpu" else plan.device
    found = "not measured: lmmodel design --measure" if here is None else f"{here.precision}, measured {here.measured}"
    memory, rates = pace.memory_bytes(plan.device), None if here is None else here.rates
    own = view.outlook_in(plan.precision)
    lines = [_row(f"this machine, {on}", plan, own, budget, memory, rates, plan.precision, found, fixed=True)]
    for device in hardware.devices():
        sheet = view.outlook_in(device.precision)
        text = f"{device.precision}, from its data sheet"
        name = f"{device.name}, {device.memory_bytes / 2**30:.0f} GB"
        lines.append(_row(name, plan, sheet, budget, device.usable_bytes, device.rates, device.precision, text))
    return lines


def _row(
    name: str,
    plan: Plan,
    view: Outlook,
    budget: float | None,
    memory_bytes: float,
    rates: Rates | None,
    precision: str,
    source: str,
    *,
    fixed: bool = False,
) -> Row:
    """fixed: with the rows at once that the plan says, since it is for that machine."""
    most = view.most_sequences(memory_bytes)
    at_once = min(most, plan.micro_sequences if fixed else plan.sequences)
    if not at_once or rates is None:
        return Row(name, precision, most, None, None, source)
    speed = plan.batch_tokens / rates.seconds(view.step(plan.sequences, at_once))
    return Row(name, precision, most, speed, budget / speed if budget else None, source)


def budget_tokens(given: Parameters, counts: Counts) -> float | None:
    """What the budget of pretraining comes to in tokens; None where only the data can tell and is not there."""
    from lmmodel.learning import plan

    budget = given.sections["pretrain"].budget  # type: ignore[attr-defined]
    epoch = _epoch_tokens() if budget.epochs is not None else 0
    if epoch is None:
        return None
    return float(plan.tokens(budget, _work(given, counts, tokens_per_epoch=epoch)))


def _epoch_tokens() -> int | None:
    try:
        return int(json.loads(paths.stage("shards").metrics.read_text(encoding="utf-8"))["train"]["tokens"])
    except (OSError, ValueError):
        return None


def _work(given: Parameters, counts: Counts, *, tokens_per_epoch: int) -> Work:
    from lmmodel.learning.plan import Work

    context = given.declaration.context
    return Work(counts["parameters"], counts["training_flops_per_token"], context, tokens_per_epoch)


def known_run(given: Parameters, counts: Counts) -> Iterator[str]:
    """What the pretraining of exactly this took here, unbroken, where there was one."""
    item, budget = paths.stage("pretrain"), budget_tokens(given, counts)
    found = {one.stage.name: one for one in standing.survey(given)}["pretrain"]
    if not found.is_current or budget is None:
        return
    run = timings.known().get(item.name, {}).get(record.read(item).identity)
    if run is not None and not run.get("resumed"):
        seconds = float(run["seconds"])
        speed = f"{_rounded(budget / seconds):,.0f} tokens/s"
        yield from _cost("here", f"{wording.duration(seconds)}: the last run of exactly this, at {speed}")


def _cost(label: str, text: str) -> list[str]:
    return wording.entry(label, text, at=15, indent=2)
