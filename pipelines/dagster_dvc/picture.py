"""A curve as a small picture inside Markdown, which is how Dagster shows one."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

INCHES = (6.0, 2.8)
DOTS_PER_INCH = 80  # about 15 kB: it is stored with every materialization

Point = tuple[float, float]


def curve(path: Path, plot: Mapping[str, Any]) -> str | None:
    """The plot that dvc.yaml describes (``x``, ``y``, ``title``, labels) of the rows at `path`, as Markdown.

    Without ``y`` the last column, without ``x`` the number of the row, as in ``dvc plots``. None without two points to
    join, or without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    rows = _rows(path)
    names = plot.get("y") or (list(rows[0])[-1:] if rows else [])
    lines = {name: list(_points(rows, plot.get("x"), name)) for name in ([names] if isinstance(names, str) else names)}
    if not any(len(points) > 1 for points in lines.values()):
        return None
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    for name, points in lines.items():
        axes.plot(*zip(*points, strict=True), marker=".", label=name)
    title = str(plot.get("title") or path.stem)
    axes.set(title=title, xlabel=plot.get("x_label") or plot.get("x") or "row", ylabel=plot.get("y_label") or "")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    return f"![{title}](data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()})"


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a csv, tsv or json file; none where there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            found = json.loads(text)
            return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    except (OSError, ValueError):
        return []
    return list(csv.DictReader(io.StringIO(text), delimiter="\t" if path.suffix == ".tsv" else ","))


def _points(rows: list[dict[str, Any]], x: str | None, y: str) -> Iterator[Point]:
    """Where both are numbers: a row may leave a column empty."""
    for number, row in enumerate(rows):
        try:
            yield float(row[x] if x else number), float(row[y])
        except (KeyError, TypeError, ValueError):
            continue
