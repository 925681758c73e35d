"""How much a model learns of Shakespeare's letters in so many seconds: quality against the clock, from process start.

python -m benchmarks.tinyshakespeare --seconds 12           held against nanoGPT's documented CPU command: 1.886 nats
python -m benchmarks.tinyshakespeare --seconds 92           the time that one takes on two cores
python -m benchmarks.tinyshakespeare --size large --updates 2400    nanoGPT's GPU configuration: 1.4697 nats
python -m benchmarks.tinyshakespeare --text FILE --json     another text; the same as data

The first 90 % of the characters train, the last 10 % validate, all of them each time. The vocabulary is the characters
that occur. The clock runs from the start of the process: imports, compiling and validation are in it.
What of the recipes was chosen by looking at validation losses of this text, and what was not, says docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from lmmodel.learning.crew import Crew

BEGAN = psutil.Process().create_time()
PLACES = (Path("shared/data/tinyshakespeare.txt"), Path("../shared/data/tinyshakespeare.txt"))
TRAIN_SHARE = 0.9
TRIAL_STEPS = 9
VALIDATION_COST = 0.4  # of a token that is validated on, against one that is learnt from


@dataclass(frozen=True)
class Recipe:
    """A design and how it is trained. validations: points of the curve. dropout: for letters that are seen often.

    apart: a process a core, of one thread each, in place of a thread a core: operations this small are not worth
    splitting. Not where there is no time to wait for another process to begin.
    """

    model: dict[str, Any]
    batch_tokens: int
    optimizer: dict[str, Any]
    compile: bool = False
    precision: str = "float32"
    decay_fraction: float = 0.6
    validations: int = 4
    micro_rows: int | str = "auto"
    apart: bool = False
    dropout: float | None = None


DESIGN = {
    "norm": "rms",
    "position": {"kind": "rotary"},
    "attention": {"kind": "multi_head", "qk_norm": "head"},
    "feed_forward": {"kind": "plain", "activation": "relu_squared", "expansion": 4},
    "block": "prenorm",
}
MUON = {"kind": "muon", "learning_rate": 0.02, "adamw_learning_rate": 0.01}
QUICK = {**MUON, "weight_decay": 0.0, "adamw_weight_decay": 0.0}
STEADY = {**MUON, "weight_decay": 0.15, "adamw_weight_decay": 0.6}


def sized(depth: int, *, context: int, width: int = 128, **design: Any) -> dict[str, Any]:
    """The section `model`: the common design, but for what of it is told."""
    design = {**DESIGN, "embedding": {"tied": False}, **design}
    return {"width": width, "depth": depth, "heads": 4, "context": context, "design": design}


def tables(*rows: int) -> dict[str, Any]:
    """Of so many rows, for runs of two letters, of three, and so on."""
    return {"tied": False, "ngrams": list(rows)}


RECIPES = {
    "short": Recipe(sized(1, context=64, embedding=tables(2048, 2300)), 1024, QUICK, validations=1),
    "small": Recipe(sized(1, context=128, embedding=tables(1024, 3500)), 2048, STEADY, apart=True),
    "large": Recipe(
        sized(
            4,
            context=256,
            width=256,
            attention={"kind": "multi_head", "qk_norm": "head", "value_residual": True},
            block={"kind": "prenorm", "scalars": "stream_and_first"},
        ),
        4096,
        {**MUON, "adamw_learning_rate": 0.005, "weight_decay": 0.2, "adamw_weight_decay": 0.6},
        compile=True,
        precision="auto",
        validations=12,
        apart=True,
        dropout=0.2,
    ),
}
SHORT_SECONDS = 30.0


class Letters:
    """Characters as tokens, and windows of them as the training loop asks for them."""

    def __init__(self, text: str, *, context: int, rows: int, seed: int) -> None:
        import numpy as np

        self.alphabet = sorted(set(text))
        number = {letter: place for place, letter in enumerate(self.alphabet)}
        tokens = np.array([number[letter] for letter in text], dtype=np.int64)
        cut = int(TRAIN_SHARE * len(tokens))
        self.train, self.held_out = tokens[:cut], tokens[cut:]
        self.context, self.rows, self.seed = context, rows, seed
        self.bytes_of_each = np.array([len(letter.encode()) for letter in self.alphabet])

    @property
    def tokens_per_epoch(self) -> int:
        """Letters to learn from."""
        return len(self.train)

    def batch(self, step: int) -> Any:
        """Windows that begin anywhere, drawn by the seed and the step."""
        import numpy as np

        chance = np.random.default_rng((self.seed, step))
        starts = chance.integers(0, len(self.train) - self.context, self.rows)
        return self._windows(self.train, starts)

    def validation(self, tokens: int) -> Iterator[Any]:
        """All held-out letters, in windows side by side."""
        import numpy as np

        starts = np.arange(0, len(self.held_out) - self.context, self.context)
        for first in range(0, len(starts), self.rows):
            yield self._windows(self.held_out, starts[first : first + self.rows])

    def _windows(self, tokens: Any, starts: Any) -> Any:
        from lmmodel.text.batches import TokenBatch

        found = tokens[starts[:, None] + range(self.context + 1)]
        return TokenBatch(found[:, :-1], found[:, 1:], None, None)


def training(recipe: Recipe, text: str, *, steps: int, seed: int, crew: Crew, scratch: Path) -> Any:
    """The project's own training loop on the letters."""
    from lmmodel.architecture.model import build
    from lmmodel.architecture.resolve import resolve
    from lmmodel.learning.plan import Work, decide
    from lmmodel.learning.settings import Launch, Pretrain
    from lmmodel.learning.training import Training
    from lmmodel.params.document import Document

    context = recipe.model["context"]
    letters = Letters(text, context=context, rows=recipe.batch_tokens // context, seed=seed)
    declared = resolve(Document("recipe", {"model": recipe.model}, {}), vocab_size=len(letters.alphabet))
    section = Pretrain.model_validate(
        {
            "budget": {"tokens": steps * recipe.batch_tokens},
            "batch_tokens": recipe.batch_tokens,
            "optimizer": recipe.optimizer,
            "schedule": {
                "kind": "warmup_stable_decay",
                "warmup_fraction": 0.02,
                "decay_fraction": recipe.decay_fraction,
            },
            "precision": recipe.precision,
            "dropout": recipe.dropout,
            "validate": {"times": recipe.validations},
        }
    )
    launch = Launch.model_validate({"compile": recipe.compile, "micro_batch_sequences": recipe.micro_rows})
    model = build(declared, seed=seed)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    work = Work(parameters, 6 * parameters, context, letters.tokens_per_epoch)
    return Training(
        model,
        letters,
        plan=decide(section, launch, work, processes=crew.size),
        section=section,
        seed=seed,
        byte_lengths_V=letters.bytes_of_each,
        scratch=scratch,
        save_seconds=float("inf"),
        crew=crew,
    )


def run(recipe: Recipe, text: str, *, seconds: float, updates: int | None, seed: int, crew: Crew) -> dict[str, Any]:
    """Train until `seconds` after the process began, or for so many `updates`; the curve, in nats a character."""
    from lmmodel.learning.reports import Validated

    curve = []
    with tempfile.TemporaryDirectory() as scratch:
        trial = Path(scratch) / "trial"
        steps = updates or crew.told(_affordable(recipe, text, seconds=seconds, seed=seed, crew=crew, scratch=trial))
        trained = training(recipe, text, steps=steps, seed=seed, crew=crew, scratch=Path(scratch) / "run")
        for report in trained.run():
            if isinstance(report, Validated):
                bits = report.bits_per_byte
                curve.append((_clock(), report.loss_nats, bits))
    return {
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "steps": steps,
        "tokens": steps * recipe.batch_tokens,
        "seconds": curve[-1][0],
        "nats_per_character": curve[-1][1],
        "bits_per_byte": curve[-1][2],
        "curve": [[clock, nats] for clock, nats, _ in curve],
    }


def together(recipe: Recipe) -> AbstractContextManager[Crew]:
    """Those who train: this process, or as many as there are cores."""
    import torch

    from lmmodel.learning import crewed, machine

    device = machine.device("auto")
    processes = torch.get_num_threads() if recipe.apart and device == "cpu" else 1
    again = [sys.executable, "-m", "benchmarks.tinyshakespeare", *sys.argv[1:]]
    return crewed.together(processes, device=device, command=again)


def _affordable(recipe: Recipe, text: str, *, seconds: float, seed: int, crew: Crew, scratch: Path) -> int:
    """How many updates, and the validations among them, fit into the time that is left: a few are timed.

    What they learn is thrown away, what they compiled is not.
    """
    from lmmodel.learning.reports import Stepped

    marks = []
    trained = training(recipe, text, steps=10 * TRIAL_STEPS, seed=seed, crew=crew, scratch=scratch)
    reports = trained.run()
    while len(marks) < TRIAL_STEPS:
        if isinstance(next(reports), Stepped):
            marks.append(time.perf_counter())
    reports.close()
    step = statistics.median(after - before for before, after in pairwise(marks[TRIAL_STEPS // 2 :]))
    validation = VALIDATION_COST * step * len(trained.batches.held_out) / recipe.batch_tokens
    return max(10, int((seconds - _clock() - recipe.validations * validation) / step))


def _clock() -> float:
    """Seconds since the process began."""
    return time.time() - BEGAN


def _text(told: Path | None) -> str:
    for path in [told] if told else PLACES:
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise SystemExit(f"no text at {told or ' or '.join(map(str, PLACES))}: name one with --text FILE")


def main() -> None:
    """Train, and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--seconds", type=float, default=92.0)
    parser.add_argument("--updates", type=int, help="however long they take, in place of --seconds")
    parser.add_argument("--size", choices=["small", "large"], default="small")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    short = asked.size == "small" and asked.seconds <= SHORT_SECONDS
    recipe = RECIPES["short" if short else asked.size]
    with together(recipe) as crew:
        told = run(recipe, _text(asked.text), seconds=asked.seconds, updates=asked.updates, seed=asked.seed, crew=crew)
    if not crew.first:
        return
    if asked.json:
        print(json.dumps(told))
        return
    print(f"{told['parameters']:,} parameters, {told['steps']:,} updates, {told['tokens']:,} characters")
    for clock, nats in told["curve"]:
        print(f"{clock:7.1f} s   {nats:.4f} nats a character")
    print(f"{told['bits_per_byte']:.4f} bits per byte")


if __name__ == "__main__":
    main()
