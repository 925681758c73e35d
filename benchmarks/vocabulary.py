"""What the loss over a large vocabulary takes: peak memory of loss and gradient, beside float32 logits in one piece.

python -m benchmarks.vocabulary            vocabularies of 50k and 128k
python -m benchmarks.vocabulary --json     the same as data

Each figure is that of a process of its own: the most that was resident during a forward and a backward pass beyond what
was resident before it, the gradients of the embedding included. Who else uses the machine changes times, not this.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator

import psutil
import torch
from torch import Tensor
from torch.nn import functional as F

from lmmodel.architecture.model import Model, build
from lmmodel.architecture.resolve import resolve
from lmmodel.learning.loss import Batch, Objective
from lmmodel.params.document import Document

VOCABULARIES, TOKENS, CONTEXT = (50_304, 128_256), 2048, 256
"""Those of GPT-2, padded, and of Llama 3; the tokens of a micro-batch, and of a row."""
WAYS = ("lmmodel", "one piece")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "VOCABULARY"), help="one of the processes that are measured")
    told = parser.parse_args()
    if told.one:
        print(json.dumps(measured(told.one[0], int(told.one[1]))))
        return
    figures = {f"{vocabulary:,}": {way: _apart(way, vocabulary) for way in WAYS} for vocabulary in VOCABULARIES}
    print(json.dumps(figures, indent=1) if told.json else "\n".join(_table(figures)))


def measured(way: str, vocabulary: int, *, width: int = 384, rows: int = TOKENS // CONTEXT) -> dict[str, float]:
    """Bytes at the peak, beyond those before, of loss and gradient in this process; the loss in nats a token."""
    model, batch = made(vocabulary, width=width, rows=rows)
    some = Batch(batch.tokens_BT[:1, :8], batch.targets_BT[:1, :8])
    loss(way, model, some).backward()  # so that what is loaded on the first time is there
    model.zero_grad()
    before = psutil.Process().memory_info().rss
    _reset_peak()
    total = loss(way, model, batch)
    total.backward()
    return {"bytes": _peak() - before, "nats": float(total.detach()) / batch.tokens_BT.numel()}


def made(vocabulary: int, *, width: int, rows: int) -> tuple[Model, Batch]:
    """A model of one layer in bfloat16, and something to learn."""
    sizes = {"width": width, "depth": 1, "heads": max(1, width // 64), "context": CONTEXT}
    document = Document("vocabulary", {"model": {**sizes, "design": {}}}, {})
    model = build(resolve(document, vocab_size=vocabulary), seed=1)
    draw = torch.Generator().manual_seed(1)
    tokens_BT = torch.randint(vocabulary, (rows, CONTEXT), generator=draw)
    return model.to(torch.bfloat16), Batch(tokens_BT, tokens_BT.roll(-1, 1))


def loss(way: str, model: Model, batch: Batch) -> Tensor:
    """Summed over tokens."""
    if way == "lmmodel":
        return Objective(model)(batch).total
    logits_NV = model(batch.tokens_BT).float().flatten(0, 1)
    return F.cross_entropy(logits_NV, batch.targets_BT.flatten(), reduction="sum")


def _apart(way: str, vocabulary: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.vocabulary", "--one", way, str(vocabulary)]
    told: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return told


def _reset_peak() -> None:
    """Linux forgets the highest so far."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _peak() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _table(figures: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    yield f"{'peak of loss and gradient, MB':32}" + "".join(f"{way:>12}" for way in WAYS) + f"{'ratio':>8}"
    for vocabulary, told in figures.items():
        most = [told[way]["bytes"] / 1e6 for way in WAYS]
        yield f"{vocabulary:32}" + "".join(f"{one:12,.0f}" for one in most) + f"{most[0] / most[1]:8.2f}"


if __name__ == "__main__":
    main()
