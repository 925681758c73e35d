"""Rows of text files, JSON lines and parquet, packed or not, through Hugging Face `datasets`.

Always streamed: no cache stands between a file and what is read from it, and nothing is larger than memory.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from lmmodel.params.refusal import Refusal

FORMATS = {".txt": "text", ".md": "text", ".jsonl": "json", ".parquet": "parquet"}
PACKINGS = {".gz": "gzip", ".zst": "zstd"}

Row = dict[str, Any]


def library() -> ModuleType:
    """`datasets`, kept from two things that it does unasked.

    It sends a request to a counter in the network whenever a dataset is opened, local files too, and imports torch to
    ask whether a stream feeds one of torch's loaders.
    """
    import datasets
    from datasets import config

    config.HF_UPDATE_DOWNLOAD_COUNTS = False
    config.TORCH_AVAILABLE = False
    datasets.disable_progress_bars()
    return datasets


def watched(paths: tuple[str, ...], *, folder: str) -> tuple[str, ...]:
    """`paths`, when all lie below `folder`; ValueError names one that does not, and would be read but not watched."""
    for path in paths:
        parts = PurePosixPath(path).parts
        if ".." in parts or not PurePosixPath(path).is_relative_to(folder):
            raise ValueError(f"'{path}' is not below {folder}/, the only folder that is watched for changes")
    return paths


def expand(paths: Iterable[str], *, place: str) -> list[Path]:
    """The files that the globs `paths` match, each once, in alphabetical order; a Refusal where one matches none.

    `place` is the key that is to blame, `corpus.source.paths`.
    """
    found: set[Path] = set()
    for pattern in paths:
        matches = [Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file()]
        if not matches:
            raise Refusal(f"{place}: '{pattern}' matches no file{_nearby(pattern)}")
        found.update(matches)
    if not found:
        raise Refusal(f"{place}: is empty; name files, such as data/raw/documents/*.txt")
    for file in sorted(found):
        _format(file, place=place)
    return sorted(found)


def of_file(file: Path) -> Iterator[Row]:
    """The rows of one file; a text file is one row with the column `text`. A Refusal names a file that is damaged."""
    try:
        yield from _rows(file)
    except Refusal:
        raise
    except UnicodeDecodeError as error:
        raise Refusal(f"{file}: is not text in UTF-8 (byte {error.start:,}: {error.reason})") from None
    except Exception as error:  # every format has a library, and every library errors of its own
        raise Refusal(f"{file}: cannot be read: {' '.join(str(error.__cause__ or error).split())[:300]}") from None


def _rows(file: Path) -> Iterator[Row]:
    kind, packing = _format(file, place=str(file))
    options = {"sample_by": "document"} if kind == "text" else {}
    with _readable(file, unpack=packing if kind == "parquet" else None) as path:
        yield from _stream(kind, data_files={"train": [glob.escape(str(path))]}, **options)


def column(row: Row, name: str, *, place: str) -> Any:
    """The value of the column that the key `place` names; a Refusal lists the columns that there are."""
    if name not in row:
        raise Refusal(f"{place}: '{name}' is not one of the columns {', '.join(row)}")
    return row[name]


def text_of(row: Row, name: str, *, place: str) -> str:
    """As `column`, for text; nothing counts as empty."""
    value = column(row, name, place=place)
    if value is not None and not isinstance(value, str):
        raise Refusal(f"{place}: the column '{name}' holds {type(value).__name__}, not text")
    return value or ""


def _stream(kind: str, **options: Any) -> Iterator[Row]:
    with TemporaryDirectory() as cache:  # it locks a file there, though nothing is cached
        yield from library().load_dataset(kind, split="train", streaming=True, cache_dir=cache, **options)


@contextmanager
def _readable(file: Path, *, unpack: str | None) -> Iterator[Path]:
    """A path at which `file` is not packed: parquet is read from its end, which a packed file cannot give."""
    if unpack is None:
        yield file.resolve()
        return
    import pyarrow

    with TemporaryDirectory() as folder:
        plain = Path(folder, "unpacked.parquet")
        with pyarrow.input_stream(str(file), compression=unpack) as packed, plain.open("wb") as out:
            while chunk := packed.read(1 << 22):
                out.write(chunk)
        yield plain


def _format(file: Path, *, place: str) -> tuple[str, str | None]:
    suffixes = file.suffixes
    packing = PACKINGS.get(suffixes[-1]) if suffixes else None
    suffix = "".join(suffixes[-2:-1] if packing else suffixes[-1:])
    if suffix not in FORMATS:
        known = f"{', '.join(FORMATS)}, or one of these with {' or '.join(PACKINGS)} behind it"
        raise Refusal(f"{place}: '{file}' is none of {known}")
    return FORMATS[suffix], packing


def _nearby(pattern: str) -> str:
    """What does lie in the last folder of `pattern` that exists."""
    folder = Path(pattern)
    while not folder.is_dir() or glob.has_magic(str(folder)):
        folder = folder.parent
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"; in {folder}/ there is {shown or 'nothing'}"
