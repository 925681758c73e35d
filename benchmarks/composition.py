"""What composing a model from parts costs over writing it in one file: forward and backward, in alternating pairs.

python -m benchmarks.composition              6 layers, width 384, context 256: ratios of composed to written
python -m benchmarks.composition --compiled   the same through torch.compile
python -m benchmarks.composition --json       the same as data
python -m benchmarks.composition llama3       of one design alone

1.00 is no cost. Both have the same weights and see the same tokens; a test holds that their logits are equal.
--busy counts the processor's seconds instead of the clock's, with one thread (OMP_NUM_THREADS=1): for a machine that
others use meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.written import WrittenGpt2, WrittenLlama3, as_written
from lmmodel.architecture.model import build
from lmmodel.architecture.resolve import resolve
from lmmodel.params.document import Document

SIZES = {"width": 384, "depth": 6, "heads": 8, "context": 256}
VOCABULARY, ROWS, PAIRS = 4096, 4, 31
WRITTEN: dict[str, type[nn.Module]] = {"gpt2": WrittenGpt2, "llama3": WrittenLlama3}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("designs", nargs="*", metavar="DESIGN", help=f"of {', '.join(WRITTEN)}; all where none is told")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    told = parser.parse_args()
    if unknown := sorted(set(told.designs) - set(WRITTEN)):
        parser.error(f"'{unknown[0]}' is not one of {', '.join(WRITTEN)}")
    clock = time.process_time if told.busy else time.perf_counter
    figures = {}
    if not told.json:
        print(f"{'composed / written':24}{'ratio':>8}{'middle half':>16}{'composed':>12}", flush=True)
    for name, sides in _pairs(told.designs or list(WRITTEN)):
        if told.compiled:
            sides = tuple(torch.compile(side, dynamic=False) for side in sides)  # type: ignore[assignment]
        figures[name] = one = ratio(*sides, pairs=told.pairs, clock=clock)
        spread = f"{one['low']:.3f} to {one['high']:.3f}"
        if not told.json:
            print(f"{name:24}{one['ratio']:8.3f}{spread:>16}{1000 * one['composed_seconds']:9.0f} ms", flush=True)
    if told.json:
        print(json.dumps(figures, indent=1))


def _pairs(designs: Sequence[str]) -> Iterator[tuple[str, tuple[nn.Module, nn.Module]]]:
    for design in designs:
        for dtype in (torch.float32, torch.bfloat16):
            yield f"{design}, {str(dtype).removeprefix('torch.')}", pair(design, dtype)


def pair(design: str, dtype: torch.dtype, **sizes: int) -> tuple[nn.Module, nn.Module]:
    """The composed model and the written one, with the same weights."""
    sizes = {**SIZES, **sizes}
    declaration = resolve(Document("sizes", {"model": {**sizes, "design": design}}, {}), vocab_size=VOCABULARY)
    composed: nn.Module = build(declaration, seed=1, dtype=dtype)
    written = WRITTEN[design](**sizes, vocab_size=VOCABULARY).to(dtype)
    written.load_state_dict(as_written(composed.state_dict()))
    return composed, written


def ratio(composed: nn.Module, written: nn.Module, *, pairs: int, clock: Callable[[], float]) -> dict[str, float]:
    """The median, and the quartiles, of composed over written in pairs of steps; who goes first alternates."""
    tokens_BT = torch.randint(VOCABULARY, (ROWS, SIZES["context"] + 1), generator=torch.Generator().manual_seed(0))
    ratios, seconds = [], []
    for side in (composed, written):
        _seconds(side, tokens_BT, clock)
    for number in range(pairs):
        order = (composed, written) if number % 2 == 0 else (written, composed)
        took: dict[Any, float] = {side: _seconds(side, tokens_BT, clock) for side in order}
        ratios.append(took[composed] / took[written])
        seconds.append(took[composed])
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"ratio": middle, "low": low, "high": high, "composed_seconds": statistics.median(seconds)}


def _seconds(side: nn.Module, tokens_BT: Tensor, clock: Callable[[], float]) -> float:
    """Of one forward and backward pass."""
    side.zero_grad()
    began = clock()
    logits_BTV = side(tokens_BT[:, :-1])
    F.cross_entropy(logits_BTV.flatten(0, 1).float(), tokens_BT[:, 1:].flatten()).backward()
    return clock() - began


if __name__ == "__main__":
    main()
