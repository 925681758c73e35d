"""Numbers, times and tables as a person reads them in a terminal of 80 to 120 columns. Plain text, no colour."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence

NARROWEST, WIDEST = 80, 120


def width() -> int:
    """Columns to write in: the terminal's, within reason; 100 where there is none."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((100, 24)).columns))


def short(number: float, digits: int = 3) -> str:
    """`5.77 M`, `98.3 T`, `640`: a number by its size, to `digits` digits."""
    for power, letter in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(number) >= 10**power * (1 - 0.5 / 10**digits):
            return f"{_digits(number / 10**power, digits)} {letter}"
    return _digits(number, digits)


def _digits(number: float, digits: int) -> str:
    whole = len(str(int(abs(number))))
    return f"{number:,.{max(0, digits - whole)}f}"


def flops(number: float) -> str:
    """`98.3 TFLOP`; a sweep's 1e18 as `1,000,000 TFLOP` would be no help, so past that in powers of ten."""
    return f"{number:.2e} FLOP" if number >= 1e16 else f"{short(number)}FLOP"


def storage(count: float) -> str:
    """Bytes: `73.1 MB`, `3,072 B`."""
    if count < 10_000:
        return f"{count:,.0f} B"
    return f"{short(count)}B"


def duration(seconds: float) -> str:
    """`3 min 12 s`, `46 s`, `0.9 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    total = round(seconds)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"
    return f"{minutes} min {rest} s" if minutes and rest else f"{minutes} min" if minutes else f"{rest} s"


def times(number: float) -> str:
    """`once`, `twice`, `4.0 times`."""
    return {1.0: "once", 2.0: "twice"}.get(round(number, 2), f"{number:.1f} times")


def several(count: int, one: str, more: str = "") -> str:
    """`1 layer`, `6 layers`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def few(words: Sequence[str], most: int = 3) -> str:
    """`a, b, c and 4 more`; all of them where that is hardly longer."""
    return listed([*words[:most], f"{len(words) - most} more"] if len(words) > most + 1 else words)


def table(rows: Iterable[Sequence[str]], align: str, *, indent: int = 0, gap: int = 3) -> list[str]:
    """Rows as lines; `align` holds `<`, `>` or `^` for each column."""
    kept = [tuple(row) for row in rows]
    if not kept:
        return []
    widths = [max(len(row[column]) for row in kept) for column in range(len(align))]
    lines = []
    for row in kept:
        cells = [f"{cell:{side}{wide}}" for cell, side, wide in zip(row, align, widths, strict=True)]
        lines.append((" " * indent + (" " * gap).join(cells)).rstrip())
    return lines


def entry(head: str, text: str, *, at: int, indent: int = 0, columns: int | None = None) -> list[str]:
    """`head`, then `text` from column `at` on, wrapped below itself."""
    start = f"{' ' * indent}{head}"
    start = f"{start:<{at}}" if len(start) < at else f"{start}  "
    return textwrap.wrap(
        text,
        width=columns or width(),
        initial_indent=start,
        subsequent_indent=" " * at,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start.rstrip()]
