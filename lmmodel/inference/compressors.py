"""What general compressors make of the same text, in bits per byte: the bar that a model of the text has to clear.

Alone, a compressor knows nothing before the text begins. Given the training text, it costs what the text adds to it:
compressed(training + text) - compressed(training). That is the fairer rival of a model that was trained on the
training text, and depends on how far back the compressor looks: zlib 32 kB, bz2 900 kB, lzma 64 MiB.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

SEPARATOR = b"\n\n"
TRAINING_BYTES = 32_000_000
"""Of the training text the last so many bytes: lzma reads 2 MB a second, and looks back 64 MiB at most."""

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": lambda text: zlib.compress(text, level=9),
    "bz2": lambda text: bz2.compress(text, compresslevel=9),
    "lzma": lambda text: lzma.compress(text, preset=9),
}


@dataclass(frozen=True)
class Compressed:
    """Bits per byte of a text alone, and given the training text."""

    alone: float
    given_training: float


def join(texts: Iterable[str]) -> bytes:
    """Documents as one text."""
    return SEPARATOR.join(text.encode() for text in texts)


def join_last(texts: Iterable[str]) -> bytes:
    """The last `TRAINING_BYTES` of documents as one text, however many there are."""
    kept = bytearray()
    for text in texts:
        kept += text.encode() + SEPARATOR
        if len(kept) > 2 * TRAINING_BYTES:
            del kept[:-TRAINING_BYTES]
    return bytes(kept[-TRAINING_BYTES:])


def measure(text: bytes, before: bytes) -> dict[str, Compressed]:
    """Each compressor on `text`, alone and given the training text `before`; two at a time, as Python lets them."""
    with ThreadPoolExecutor(2) as pool:
        jobs = {
            name: [pool.submit(_size, name, part) for part in (before + text, before, text)]
            for name in reversed(COMPRESSORS)  # the slowest first
        }
        sizes = {name: [job.result() for job in waiting] for name, waiting in jobs.items()}
    return {name: _compressed(*sizes[name], text=len(text)) for name in COMPRESSORS}


def _size(name: str, text: bytes) -> int:
    return len(COMPRESSORS[name](text))


def _compressed(both: int, before: int, alone: int, *, text: int) -> Compressed:
    return Compressed(8 * alone / text, 8 * (both - before) / text)
