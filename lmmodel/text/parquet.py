"""Parquet whose bytes depend on the rows alone: one compression, no times, row groups of a fixed size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lmmodel.params.refusal import Refusal

_ROWS_PER_GROUP = 4096
_LETTERS_PER_GROUP = 16_000_000


class Writer:
    """Rows, added one by one, into one file; closed by `with`. `columns` maps names to pyarrow types or their names."""

    def __init__(self, path: Path, columns: Mapping[str, Any]) -> None:
        import pyarrow
        from pyarrow import parquet

        named = {
            name: pyarrow.type_for_alias(kind) if isinstance(kind, str) else kind for name, kind in columns.items()
        }
        self._schema = pyarrow.schema(list(named.items()))
        self._file = parquet.ParquetWriter(path, self._schema, compression="zstd", store_schema=False)
        self._rows: list[dict[str, Any]] = []
        self._letters = 0

    def add(self, row: dict[str, Any]) -> None:
        """One more row."""
        self._rows.append(row)
        self._letters += len(row.get("text", ""))
        if len(self._rows) >= _ROWS_PER_GROUP or self._letters >= _LETTERS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        columns = [_array([row[field.name] for row in self._rows], field.type) for field in self._schema]
        self._file.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))
        self._rows, self._letters = [], 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None and self._rows:
            self._flush()
        self._file.close()


def rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows of a file, in their order, a batch in memory at a time; a Refusal where it cannot be read."""
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_PER_GROUP, columns=list(columns), use_threads=False):
                yield from batch.to_pylist()
    except FileNotFoundError:
        raise Refusal(f"{path}: is missing; `dvc repro` makes it again") from None
    except (ArrowException, OSError) as error:
        raise Refusal(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None


def count(path: Path) -> int:
    """How many rows a file has, from its footer."""
    from pyarrow import parquet

    return int(parquet.read_metadata(path).num_rows)


def _array(values: list[Any], kind: Any) -> Any:
    """A column of text, lists or structs. `pyarrow.array` would import pandas to ask whether it was given any."""
    import pyarrow

    if pyarrow.types.is_list(kind):
        offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
        inner = _array([item for value in values for item in value], kind.value_type)
        return pyarrow.Array.from_buffers(kind, len(values), [None, pyarrow.py_buffer(offsets)], children=[inner])
    if pyarrow.types.is_struct(kind):
        fields = list(kind)
        inner = [_array([value[field.name] for value in values], field.type) for field in fields]
        return pyarrow.StructArray.from_arrays(inner, fields=fields)
    text = pyarrow.lib.StringBuilder()
    text.append_values(values)
    return text.finish()
