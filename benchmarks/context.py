"""How the cost of a token grows with the context: mixers whose cost is linear in it, beside softmax attention.

python -m benchmarks.context            milliseconds per 1,000 tokens, forward and backward, by length of the context
python -m benchmarks.context --json     the same as data

A straight line at a constant height is a cost that is linear in the context. Lengths and mixers are alternated round by
round, and the fastest round counts. --busy counts the processor's seconds instead of the clock's, with one thread
(OMP_NUM_THREADS=1): for a machine that others use meanwhile.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from lmmodel.architecture.model import Model, build
from lmmodel.architecture.resolve import resolve
from lmmodel.params.document import Document

MIXERS = ("multi_head", "linear", "gated_delta", "mamba2")
CONTEXTS = (256, 1024, 4096, 8192)
VOCABULARY, ROUNDS = 64, 3
SIZES = {"width": 128, "depth": 1, "heads": 2}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    figures = measured(time.process_time if told.busy else time.perf_counter)
    if told.json:
        print(json.dumps(figures, indent=1))
        return
    print(f"{'ms per 1,000 tokens':22}" + "".join(f"{context:>10,}" for context in CONTEXTS) + f"{'last / first':>14}")
    for mixer, line in figures.items():
        costs = list(line.values())
        print(f"{mixer:22}" + "".join(f"{cost:10.1f}" for cost in costs) + f"{costs[-1] / costs[0]:14.2f}")


def measured(clock: Callable[[], float]) -> dict[str, dict[int, float]]:
    """Milliseconds for 1,000 tokens, by mixer and context."""
    models = {(mixer, context): _made(mixer, context) for mixer in MIXERS for context in CONTEXTS}
    rounds = [{key: _seconds(model, key[1], clock) for key, model in models.items()} for _ in range(ROUNDS)]
    return {
        mixer: {context: 1e6 / context * min(one[mixer, context] for one in rounds) for context in CONTEXTS}
        for mixer in MIXERS
    }


def _made(mixer: str, context: int) -> Model:
    told = {"model": {**SIZES, "context": context, "design": {"attention": mixer, "feed_forward": "none"}}}
    return build(resolve(Document("context", told, {}), vocab_size=VOCABULARY), seed=1)


def _seconds(model: Model, context: int, clock: Callable[[], float]) -> float:
    """Of one forward and backward pass over a row of the whole context."""
    tokens_BT = torch.zeros(1, context, dtype=torch.int64)
    model.zero_grad()
    began = clock()
    F.cross_entropy(model(tokens_BT).flatten(0, 1), tokens_BT.flatten()).backward()
    return clock() - began


if __name__ == "__main__":
    main()
