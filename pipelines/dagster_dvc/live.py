"""The numbers of a stage while it runs, as observations of its asset: Dagster draws them as curves on the asset's page.

Names stay the same from point to point and from run to run, so that each is one curve. An observation stands in
Dagster's event log for good: one is made every `SECONDS` at most, of the latest numbers.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg

SECONDS = 10.0

Look = Callable[[], Mapping[str, float]]
"""Gives the numbers that came in since it was last asked, the latest of each name."""


class Live:
    """What `look` sees of a running stage, told at a pace that Dagster's log can take."""

    def __init__(self, asset: dg.AssetKey, look: Look, *, seconds: float | None = None):
        self._asset = asset
        self._look = look
        self._seconds = SECONDS if seconds is None else seconds
        self._told_at = -math.inf

    def observations(self) -> Iterator[dg.AssetObservation]:
        """One, when it is time for one and there is something new."""
        now = time.monotonic()
        if now - self._told_at < self._seconds:
            return
        news = {name: float(value) for name, value in self._look().items() if math.isfinite(value)}
        if news:
            self._told_at = now
            yield dg.AssetObservation(self._asset, metadata=news)


class Rows:
    """The numbers in rows that are appended to tables (csv, tsv) while a stage runs: those of dvclive, say."""

    def __init__(self, paths: list[Path]):
        self._paths = paths
        self._read = {path: _size(path) for path in paths}  # what lies there now is of an earlier run

    def __call__(self) -> dict[str, float]:
        """The latest number of every column, of the rows since the last call."""
        return {name: number for path in self._paths for row in self._new(path) for name, number in _numbers(row)}

    def _new(self, path: Path) -> Iterator[dict[str, str]]:
        """Whole rows only: the last one may still be being written."""
        if _size(path) < self._read[path]:
            self._read[path] = 0
        if _size(path) == self._read[path]:
            return
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        seen = content[: self._read[path]].count(b"\n")
        self._read[path] = len(whole)
        rows = csv.DictReader(io.StringIO(whole.decode()), delimiter="\t" if path.suffix == ".tsv" else ",")
        yield from list(rows)[max(0, seen - 1) :]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _numbers(row: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for name, text in row.items():
        try:
            yield name, float(text)
        except (TypeError, ValueError):
            continue
