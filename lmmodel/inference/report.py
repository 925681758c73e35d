"""The table that sets models side by side, and their text: as plain data, as Markdown, and for a terminal.

`Summary` is what the stage keeps as `summary.json`; whoever shows it later asks one of the three functions below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from lmmodel.inference.harness import Figure

TITLES = {
    "finetune": "fine-tuned",
    "pretrain": "pretrained",
    "untrained": "the same, untrained",
    "chance": "chance",
    **{f"{name}_given_training": f"{name}, given the training text" for name in ("lzma", "bz2", "zlib")},
    **{f"{name}_alone": f"{name}, alone" for name in ("lzma", "bz2", "zlib")},
}
"""What each row is called for people, in the order in which rows stand; references come before `chance`."""

HEADS = {
    ("documents_bits_per_byte", "bits_per_byte"): ("bits per byte", "held-out text"),
    ("dialogues_choice", "acc_mutual_info"): ("choice of four", "held-out questions"),
    ("dialogues_answer", "chrf"): ("chrF of the answer", "held-out questions"),
}
_SHARES = ("acc", "exact_match", "em", "f1")  # between 0 and 1, shown in percent
_QUESTIONS_IN_TERMINAL = 3


class _Data(BaseModel):
    """Data with exactly these fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Data):
    """A figure, and half the width of its 95 % interval."""

    value: float
    interval: float | None


class Column(_Data):
    """One metric of one task. `head`: the first of its task, shown in the table."""

    task: str
    metric: str
    title: str
    about: str
    less_is_better: bool
    head: bool

    @property
    def key(self) -> str:
        """What its scores are found by."""
        return f"{self.task}.{self.metric}"


class Row(_Data):
    """One model, or what stands in for one; its scores by the columns' keys."""

    name: str
    title: str
    scores: dict[str, Score]


class Continued(_Data):
    """A prompt, and what a model made of it."""

    prompt: str
    text: str


class Said(_Data):
    """Somebody's answer."""

    who: str
    text: str


class Asked(_Data):
    """A question; what each model answered, by its row's title, and last what is true."""

    question: str
    answers: tuple[Said, ...]


class Summary(_Data):
    """All that the stage found. `examples`: by task. `notes`: what a reader should know, a sentence each."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    examples: dict[str, int]
    notes: tuple[str, ...]
    continued: tuple[Continued, ...]
    asked: tuple[Asked, ...]


def columns(figures: Sequence[Figure]) -> tuple[Column, ...]:
    """The columns that `figures` need, in their order."""
    found: dict[tuple[str, str], Column] = {}
    for figure in figures:
        place = figure.task, figure.metric
        head = all(task != figure.task for task, _ in found)
        title, about = HEADS.get(place, (figure.task, figure.metric))
        column = Column(
            task=figure.task,
            metric=figure.metric,
            title=title,
            about=about,
            less_is_better=figure.less_is_better,
            head=head,
        )
        found.setdefault(place, column)
    return tuple(found.values())


def row(name: str, figures: Sequence[Figure]) -> Row:
    """The row of `name`; one that has no title of its own is a reference."""
    scores = {f"{item.task}.{item.metric}": Score(value=item.value, interval=item.interval) for item in figures}
    return Row(name=name, title=TITLES.get(name, name), scores=scores)


def figures(summary: Summary) -> dict[str, float]:
    """Every number by a flat key that stays the same: `finetune.dialogues_choice.acc`, and `..._interval` behind it."""
    found: dict[str, float] = {f"examples.{task}": count for task, count in summary.examples.items()}
    for line in summary.rows:
        for key, score in line.scores.items():
            found[f"{line.name}.{key}"] = score.value
            if score.interval is not None:
                found[f"{line.name}.{key}_interval"] = score.interval
    return found


def markdown(summary: Summary) -> str:
    """The table, what it means, and every other figure."""
    heads = [column for column in summary.columns if column.head]
    rest = [column for column in summary.columns if not column.head]
    parts = ["# Evaluation", _table(heads, summary.rows), "\n".join(f"- {note}" for note in summary.notes)]
    if rest:
        parts += ["## Other figures", _table(rest, summary.rows)]
    return "\n\n".join(parts) + "\n"


def _table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    lines = [
        ["", *(column.title for column in columns)],
        ["---", *("---:" for _ in columns)],
        ["", *(f"{column.about}, {_better(column)}" for column in columns)],
        *(
            [line.title, *(_shown(line.scores.get(column.key), column) for column in columns)]
            for line in rows
            if any(column.key in line.scores for column in columns)
        ),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def samples(summary: Summary) -> str:
    """What the models say: prompts continued, then questions with the true answer."""
    parts = ["# Samples"]
    if summary.continued:
        parts.append("## Prompts, continued by the pretrained model")
        parts += [_block(item.prompt + item.text) for item in summary.continued]
    if summary.asked:
        parts.append("## Questions")
    for item in summary.asked:
        told = "\n".join(f"- {said.who}: {_escaped(_line(said.text))}" for said in item.answers)
        parts += [f"### {_escaped(_line(item.question))}", told]
    return "\n\n".join(parts) + "\n"


def terminal(summary: Summary, *, folder: str) -> str:
    """The table and the first questions, as `lmmodel report` shows them; `folder` has everything."""
    heads = [column for column in summary.columns if column.head]
    lines = [line for line in _brief_lines(summary.rows, heads) if any(cell != "-" for cell in line[1])]
    wide = max([30, *(len(title) + 2 for title, _ in lines)])
    told = [
        _spread("", [column.title for column in heads], wide),
        _spread("", [column.about for column in heads], wide),
        _spread("", [_better(column) for column in heads], wide),
        *(_spread(title, cells, wide) for title, cells in lines),
    ]
    told.append(f"  ± is a 95 % interval over the examples. All figures: {folder}/report.md")
    for item in summary.asked[:_QUESTIONS_IN_TERMINAL]:
        told += ["", f"  {_cut(_line(item.question))}"]
        told += [f"    {said.who:<12}  {_cut(_line(said.text))}" for said in item.answers]
    return "\n".join(line.rstrip() for line in told)


def _brief_lines(rows: Sequence[Row], columns: Sequence[Column]) -> list[tuple[str, list[str]]]:
    """Titles and cells. Of the lesser compressors one line tells enough: that alone is what people know them by."""
    lines = {row.name: (row.title, [_shown(row.scores.get(c.key), c, brief=True) for c in columns]) for row in rows}
    for name in ("bz2_given_training", "zlib_given_training"):
        lines.pop(name, None)
    if "bz2_alone" in lines and "zlib_alone" in lines:
        pairs = zip(lines["bz2_alone"][1], lines.pop("zlib_alone")[1], strict=True)
        lines["bz2_alone"] = "bz2 | zlib, alone", [" | ".join(dict.fromkeys(pair)) for pair in pairs]
    return list(lines.values())


def _spread(title: str, cells: Sequence[str], wide: int) -> str:
    return f"  {title:<{wide}}" + "".join(f"{cell:>20}" for cell in cells)


def _better(column: Column) -> str:
    return "less is better" if column.less_is_better else "more is better"


def _shown(score: Score | None, column: Column, *, brief: bool = False) -> str:
    """`58.2 % ± 4.8`; briefly, only shares carry their interval."""
    if score is None:
        return "-"
    share = column.metric.startswith(_SHARES)
    scale, digits = (100, 1) if share else (1, 2 if column.less_is_better else 1)
    text = f"{score.value * scale:.{digits}f}" + (" %" if share else "")
    if score.interval is None or (brief and not share):
        return text
    return f"{text} ± {score.interval * scale:.{digits}f}"


def _block(text: str) -> str:
    """Text as it is, in a fence that it does not close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _line(text: str) -> str:
    """Text on one line."""
    return " ".join(text.split()) or "(nothing)"


def _escaped(text: str) -> str:
    """Text without what Markdown would take for its own."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)


def _cut(text: str, letters: int = 96) -> str:
    return text if len(text) <= letters else f"{text[: letters - 3]}..."


def in_order(names: Iterable[str]) -> list[str]:
    """Row names as they stand in the table: the models, the references, what stands in for a model."""
    names, known = list(names), list(TITLES)
    models, others = known[: known.index("chance")], known[known.index("chance") :]
    references = [name for name in names if name not in TITLES]
    return [name for name in (*models, *references, *others) if name in names]
