"""Curves in plain characters, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines import wording

MARKS = "ox+#"
_BOTH = "*"
_AXIS = 9  # columns left of the drawing


def curves(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, under: str, rows: int = 12) -> list[str]:
    """Each line of (x, y) by its name, x from 0 on; a place holds the mean of what falls into its column.

    under: what x is. What lies above the first tenth of the columns' highest mean is cut off: curves begin steeply.
    """
    columns = wording.width() - _AXIS - 2
    right = max(xs[-1] for xs, _ in lines.values())
    means = [_means(xs, ys, columns, right) for xs, ys in lines.values()]
    shown = [value for line in means for column, value in line.items() if column >= columns // 10]
    low, high = min(min(line.values()) for line in means), max(shown)
    grid = [[" "] * columns for _ in range(rows)]
    for mark, line in zip(MARKS, means, strict=False):
        for column, value in line.items():
            row = round((high - value) / ((high - low) or 1) * (rows - 1))
            if row >= 0:
                grid[row][column] = mark if grid[row][column] in (" ", mark) else _BOTH
    labels = {
        0: f"{high:.2f}",
        rows // 2: f"{high - (high - low) * (rows // 2) / (rows - 1):.2f}",
        rows - 1: f"{low:.2f}",
    }
    drawn = [f"{labels.get(row, ''):>{_AXIS - 2}} │{''.join(cells)}".rstrip() for row, cells in enumerate(grid)]
    end = f"{wording.short(right)} {under}"
    legend = "   ".join(f"{mark} {name}" for mark, name in zip(MARKS, lines, strict=False))
    return [
        *drawn,
        f"{'':>{_AXIS - 1}}└{'─' * columns}",
        f"{'':>{_AXIS}}0{end:>{columns - 1}}",
        f"{'':>{_AXIS}}{legend}   {_BOTH} both",
    ]


def _means(xs: Sequence[float], ys: Sequence[float], columns: int, right: float) -> dict[int, float]:
    """What falls into each column, on average."""
    found: dict[int, list[float]] = {}
    for x, y in zip(xs, ys, strict=True):
        found.setdefault(min(columns - 1, int(x / right * columns)), []).append(y)
    return {column: sum(values) / len(values) for column, values in found.items()}
