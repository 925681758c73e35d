"""The curve of a training as a table: one row for each validation, no times."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

COLUMNS = ("step", "tokens", "loss_nats", "validation_loss_nats", "validation_bits_per_byte")
"""loss_nats is the mean over the steps since the row before."""


def write(path: Path, rows: Iterable[Mapping[str, float]]) -> None:
    """`rows` as a file of comma-separated values; numbers as Python writes them, so that none is rounded."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
