"""Files of every format and packing that the sources read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    return _packed(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def text(path: Path, content: str) -> Path:
    return _packed(path, content.encode())


def parquet(path: Path, rows: Sequence[dict[str, Any]], *, rows_per_group: int = 100) -> Path:
    import pyarrow
    from pyarrow import parquet

    out = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(rows), out, row_group_size=rows_per_group, compression="none")
    return _packed(path, out.getvalue().to_pybytes())


def _packed(path: Path, data: bytes) -> Path:
    import zstandard

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        data = gzip.compress(data)
    if path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path
