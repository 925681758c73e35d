"""What differs between results, what was equal, by how much they came out apart, and whether that is noise.

A RESULT is an experiment of `dvc exp`, a revision of git, a folder (`.` for this one), or `key=value`, which chooses
among the others. Without any: this commit and all experiments that began from it. With --by the seeds of each value
stand together and are held against a baseline. Read off what the stages wrote, so a clone after `dvc pull` can.
"""

from __future__ import annotations

import argparse
import json

from lmmodel.params.refusal import Refusal
from pipelines import comparing, results, significance, wording
from pipelines.comparing import Row
from pipelines.results import Result

FORMS = ("text", "markdown", "latex", "csv", "json")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which results, how they belong together, and in which form they are told."""
    parser.add_argument("results", nargs="*", metavar="RESULT", help="an experiment, a revision, a folder, key=value")
    parser.add_argument("--by", metavar="KEY", help="a dotted key, say model.design: its values are compared")
    parser.add_argument("--baseline", metavar="VALUE", help="the value of --by that the others are held against")
    parser.add_argument("--metric", default=comparing.METRIC, metavar="STAGE.KEY", help="what --by compares")
    parser.add_argument("--format", choices=FORMS, default="text", help="text")


def show(told: argparse.Namespace) -> None:
    """Print the comparison."""
    found = results.find(told.results)
    if told.by:
        print(_by(found, told))
    elif len(found) < 2:
        raise Refusal(f"there is one result only, {found[0].name}: `dvc exp run -S ...` makes another")
    else:
        print(_beside(found, told.format))


# --- side by side


def _beside(found: list[Result], form: str) -> str:
    parts = {
        "differs": comparing.differing(found),
        "equal within 1 %?": comparing.given(found),
        "came out": comparing.outcomes(found),
    }
    if form == "json":
        return json.dumps({"results": [one.name for one in found], **parts, "verdict": None}, indent=1)
    head: Row = ("", *(one.name for one in found), "difference", "equal")
    if form != "text":
        rows = [row for part in parts.values() for row in part]
        return comparing.written([head, *((*row, *[""] * (len(head) - len(row))) for row in rows)], form)
    return "\n".join([*_columns(head, parts), "", *_no_verdict(found)])


def _columns(head: Row, parts: dict[str, list[Row]]) -> list[str]:
    """All parts in the same columns, each below its title."""
    rows: list[Row] = [(head[0], *head[1:-2], "", "")]
    for title, part in parts.items():
        rows += [(f"  {title}", *[""] * (len(head) - 1))]
        rows += [(f"    {row[0]}", *row[1:], *[""] * (len(head) - len(row))) for row in part or [("nothing",)]]
    return [line.rstrip() for line in comparing.lines(rows, indent=0)]


def _no_verdict(found: list[Result]) -> list[str]:
    seeds = {one.seed for one in found}
    reason = "one seed each, and a design differs from itself between seeds." if len(seeds) == 1 else ""
    more = f"{max(seeds) + 1},{max(seeds) + 2}"
    keys = [row[0] for row in comparing.differing(found) if not row[0].startswith(" ") and row[0] != "seed"]
    values = ",".join(dict.fromkeys(str(one.value(keys[0])) for one in found)) if len(keys) == 1 else ""
    swept = f"-S '{keys[0]}={values}' " if values and len(values) < 80 else ""
    by = keys[0] if len(keys) == 1 else "KEY"
    return [
        *wording.entry("No verdict:", reason or "seeds tell only together.", at=14, indent=2),
        *(["  Two more of each would tell:"] if reason else []),
        *([f"    dvc exp run --queue {swept}-S seed={more} && dvc queue start"] if reason else []),
        f"  Then, or with the seeds that there are: lmmodel compare --by {by}",
    ]


# --- seeds together


def _by(found: list[Result], told: argparse.Namespace) -> str:
    groups = comparing.grouped(found, told.by)
    baseline = _baseline(groups, told)
    judgement = comparing.judged(groups, baseline=baseline, metric=told.metric)
    rows = comparing.ranking(groups, judgement, by=told.by, metric=told.metric)
    if told.format == "json":
        return json.dumps(_data(groups, judgement, baseline, told), indent=1)
    if told.format != "text":
        return comparing.written(rows, told.format)
    notes = [_heading(groups, told.by), "", *comparing.lines(rows, indent=2), ""]
    return "\n".join([*notes, *wording.entry("", _footing(judgement, groups, told.metric), at=2, indent=2)])


def _heading(groups: dict[str, list[Result]], by: str) -> str:
    """How many there are, of which seeds, and whether they were given the same."""
    flops = [one.numbers.get(comparing.GIVEN["training FLOPs"], 0.0) for group in groups.values() for one in group]
    seeds = comparing.shared_seeds(groups)
    of = f" x {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}" if seeds else ""
    low, high = (comparing.amount(comparing.GIVEN["training FLOPs"], end) for end in (min(flops), max(flops)))
    apart = f"{comparing.spread(flops):.1%}".replace("%", " %")
    equal = f"Equal in training FLOPs: {low}, all within {apart}."
    unequal = f"Not equal in training FLOPs: {low} to {high}, {apart} apart."
    verdict = equal if comparing.spread(flops) <= comparing.EQUAL_WITHIN else unequal
    return f"{wording.several(len(flops), 'result')}: {wording.several(len(groups), 'value')} of {by}{of}. {verdict}"


def _baseline(groups: dict[str, list[Result]], told: argparse.Namespace) -> str:
    if len(groups) < 2:
        raise Refusal(f"all results have the same {told.by}, {next(iter(groups))}: there is nothing to compare")
    if told.baseline in groups:
        return str(told.baseline)
    head = "is not one of" if told.baseline else "has to be one of"
    name = f"'{told.baseline}' " if told.baseline else ""
    raise Refusal(f"--baseline {name}{head} the values of {told.by}: {', '.join(groups)}")


def _footing(judgement: significance.Judgement, groups: dict[str, list[Result]], metric: str) -> str:
    """How the intervals were made, what they cannot show, and where to go from there."""
    mean = f"Mean over seeds of {metric}."
    further = "As a table: --format markdown, latex, csv, json. One result again: dvc exp apply NAME && dvc repro."
    if judgement.smallest is None:
        return f"{mean} No verdict: with so few seeds nobody knows how far a candidate differs from itself. {further}"
    others = len(groups) - 1
    together = f"for the {others} together" if others > 1 else "for the one comparison"
    blocks = "seeds as blocks" if judgement.blocks else "seeds not paired, as they are not the same for all"
    seeds = comparing.shared_seeds(groups)
    return (
        f"{mean} Intervals: Dunnett, 95 % {together}, {blocks}. A difference under {judgement.smallest:.2g} cannot be "
        f"told with {f'{len(seeds)} seeds' if seeds else 'these seeds'}. One size and one budget is one point of a "
        f"curve: repeat it at another before you publish. {further}"
    )


def _told(one: significance.Against) -> dict[str, object]:
    return {"difference": one.difference, "interval": [one.low, one.high], "verdict": one.verdict}


def _data(
    groups: dict[str, list[Result]], judgement: significance.Judgement, baseline: str, told: argparse.Namespace
) -> dict[str, object]:
    found = {one.name: one for one in judgement.against}
    rows = [
        {
            "value": name,
            "seeds": {one.seed: one.numbers[told.metric] for one in group},
            "results": [one.name for one in group],
            **{label: sum(one.numbers[key] for one in group) / len(group) for label, key in comparing.GIVEN.items()},
            **(_told(found[name]) if name in found else {"verdict": "baseline"}),
        }
        for name, group in groups.items()
    ]
    return {
        "by": told.by,
        "metric": told.metric,
        "baseline": baseline,
        "smallest": judgement.smallest,
        "seeds_as_blocks": judgement.blocks,
        "rows": rows,
    }
