"""Results side by side, as plain tables: what differs between them, whether they were given the same, what came out.

A table is rows of texts; `written` turns one into Markdown, LaTeX, CSV or the columns of a terminal.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from lmmodel.params.refusal import Refusal, suggestion
from pipelines import parameters, significance, wording
from pipelines.results import Result

METRIC = "pretrain.validation_bits_per_byte"
GIVEN = {"training FLOPs": "pretrain.flops", "parameters": "pretrain.parameters", "tokens": "pretrain.tokens"}
"""What a fair comparison gives to all alike, in part at least: it cannot be all three."""

EQUAL_WITHIN = 0.01
_LESS_IS_BETTER = ("bits_per_byte", "loss", "perplexity")
_SHARES = ("acc", "exact_match", "em", "f1")
_WIDEST = 36

Row = tuple[str, ...]


# --- side by side


def differing(results: list[Result]) -> list[Row]:
    """Key and values of what was written differently, and below, indented, of what else that makes different."""
    written = [parameters.flatten(one.chosen) for one in results]
    rows = _differing(written)
    told = {row[0] for row in rows}
    declared = [{key: value for key, value in one.declared.items() if not key.endswith(".seed")} for one in results]
    more = [row for row in _differing(declared) if row[0] not in told and _is_a_cause(row[0], declared)]
    return [*rows, *((f"  {row[0]}", *row[1:]) for row in more)]


def _differing(sides: Sequence[dict[str, object]] | Sequence[dict[str, str]]) -> list[Row]:
    keys = dict.fromkeys(key for side in sides for key in side)
    rows = [(key, *(_short(side.get(key, "-")) for side in sides)) for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def _is_a_cause(key: str, sides: list[dict[str, str]]) -> bool:
    """Of parts of different kinds the kinds alone are told: their options are different ones."""
    kind = f"{key.rpartition('.')[0]}.kind"
    return key == kind or len({side.get(kind) for side in sides}) == 1


def _short(value: object) -> str:
    text = Path(value).as_posix() if isinstance(value, str) else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def given(results: list[Result]) -> list[Row]:
    """Label and values of what each was given, the difference of two in percent, and whether all are equal."""
    rows = []
    for label, key in GIVEN.items():
        values = [one.numbers.get(key, 0.0) for one in results]
        change = f"{spread(values):.1%}".replace("%", " %")
        if len(values) == 2 and values[0]:
            change = f"{values[1] / values[0] - 1:+.1%}".replace("%", " %")
        shown = (amount(key, value) for value in values)
        rows.append((label, *shown, change, "yes" if spread(values) <= EQUAL_WITHIN else "no"))
    return rows


def spread(values: list[float]) -> float:
    """By how much the largest is more than the smallest, as a share of it."""
    return max(values) / min(values) - 1 if min(values) > 0 else float(max(values) > 0)


def amount(key: str, value: float) -> str:
    """What was given, as one says it: `7,212,288` parameters, `2.40 M` tokens, `1.000e14` FLOPs."""
    if key == GIVEN["tokens"]:
        return wording.short(value)
    return f"{value:.3e}".replace("e+", "e") if key == GIVEN["training FLOPs"] else f"{value:,.0f}"


def outcomes(results: list[Result]) -> list[Row]:
    """Label and values of what came out, and the difference of two."""
    from lmmodel.inference.report import HEADS

    columns = [("validation, bits per byte", METRIC)]
    for task, metric in HEADS:
        key = next((one for one in _of_models(task, metric) if all(one in result.numbers for result in results)), None)
        columns += [(f"{task}, {metric}", key)] if key else []
    return [_outcome(label, key, [one.numbers.get(key) for one in results]) for label, key in columns]


def _of_models(task: str, metric: str) -> list[str]:
    return [f"evaluate.{model}.{task}.{metric}" for model in ("finetune", "pretrain")]


def _outcome(label: str, key: str, values: list[float | None]) -> Row:
    known = [value for value in values if value is not None]
    change = _number(key, known[1] - known[0], "+") if key and len(values) == len(known) == 2 else ""
    return (label, *("-" if key is None or value is None else _number(key, value) for value in values), change)


def _number(metric: str, value: float, sign: str = "") -> str:
    """`1.943`; of what is a share of all questions, `57.0 %`."""
    share = metric.rpartition(".")[2].startswith(_SHARES)
    return f"{100 * value:{sign}.1f} %" if share else f"{value:{sign}.3f}"


def less_is_better(metric: str) -> bool:
    """Whether a smaller number of this name is the better one."""
    return any(word in metric for word in _LESS_IS_BETTER)


# --- seeds together


def grouped(results: list[Result], by: str) -> dict[str, list[Result]]:
    """Value of the key `by` -> its results, one a seed; a Refusal where two of a seed are not the same."""
    groups: dict[str, list[Result]] = {}
    for one in results:
        value = one.value(by)
        if value is None:
            known = sorted({*parameters.flatten(one.chosen), *one.declared})
            raise Refusal(f"{one.name} has no '{by}'{suggestion(by, known)}")
        same = [other for other in groups.setdefault(value, []) if other.seed == one.seed]
        if not same:
            groups[value].append(one)
        elif same[0].numbers != one.numbers:
            keys = ", ".join(row[0].strip() for row in differing([same[0], one])[:3]) or "nothing that is declared"
            both = f"{same[0].name} and {one.name} both have {by} {_short(value)} and seed {one.seed}"
            raise Refusal(f"{both}, and differ in {keys}: choose with key=value")
    return groups


def judged(groups: dict[str, list[Result]], *, baseline: str, metric: str) -> significance.Judgement:
    """Every group against the baseline; a Refusal where a result lacks the metric."""
    for one in (one for group in groups.values() for one in group):
        if metric not in one.numbers:
            raise Refusal(f"{one.name} has no '{metric}'{suggestion(metric, list(one.numbers))}")
    values = {name: {one.seed: one.numbers[metric] for one in group} for name, group in groups.items()}
    return significance.judge(values, baseline=baseline, less_is_better=less_is_better(metric))


def ranking(groups: dict[str, list[Result]], judgement: significance.Judgement, *, by: str, metric: str) -> list[Row]:
    """A head and a row for each group, the best first; with a column of how many seeds, where not all have the same."""
    found = {one.name: one for one in judgement.against}
    baseline = next(name for name in groups if name not in found)
    means = {name: _mean(group, metric) for name, group in groups.items()}
    counted = ("seeds",) if shared_seeds(groups) is None else ()
    head = (by, *counted, "parameters", "tokens", title(metric), f"against {_short(baseline)}", "verdict")
    rows = []
    for name in sorted(groups, key=lambda name: means[name] if less_is_better(metric) else -means[name]):
        seeds = (str(len(groups[name])),) if counted else ()
        given = [amount(GIVEN[key], _mean(groups[name], GIVEN[key])) for key in ("parameters", "tokens")]
        against = _interval(found[name], metric) if name in found else ("baseline", "")
        rows.append((_short(name), *seeds, *given, _number(metric, means[name]), *against))
    return [head, *rows]


def shared_seeds(groups: dict[str, list[Result]]) -> list[int] | None:
    """The seeds that every group has; None where they are not the same ones."""
    seeds = [sorted(one.seed for one in group) for group in groups.values()]
    return seeds[0] if all(some == seeds[0] for some in seeds) else None


def title(metric: str) -> str:
    """What a metric is called above its column."""
    return "bits per byte" if metric == METRIC else metric.rpartition(".")[2].replace("_", " ")


def _mean(group: list[Result], key: str) -> float:
    return sum(one.numbers.get(key, 0.0) for one in group) / len(group)


def _interval(one: significance.Against, metric: str) -> tuple[str, str]:
    told = _number(metric, one.difference, "+")
    if one.low is None or one.high is None:
        return told, one.verdict
    return f"{told} [{_number(metric, one.low, '+')}, {_number(metric, one.high, '+')}]", one.verdict


# --- forms


def written(rows: list[Row], form: str) -> str:
    """A table whose first row is its head, as `markdown`, `latex` or `csv`."""
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().rstrip("\n")
    if form == "latex":
        return "\n".join(_latex(rows))
    lines = ["| " + " | ".join(cell.strip().replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _latex(rows: list[Row]) -> Iterator[str]:
    escaped = {letter: f"\\{letter}" for letter in "&%$#_{}"}
    yield f"\\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}"
    yield "\\hline"
    for place, row in enumerate(rows):
        yield " & ".join("".join(escaped.get(letter, letter) for letter in cell.strip()) for cell in row) + " \\\\"
        if place in (0, len(rows) - 1):
            yield "\\hline"
    yield "\\end{tabular}"


def lines(rows: list[Row], *, indent: int) -> list[str]:
    """The columns of a terminal; the first one to the left."""
    return wording.table(rows, "<" + ">" * (len(rows[0]) - 1), indent=indent) if rows else []
