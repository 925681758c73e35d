"""Does one design learn faster than another? Both on the same batches, from paired starts, in a minute.

A design is a name, a file, or `.` for the one in params.yaml; both at the sizes that stand there. They learn as the
section `pretrain` says, at a rate that rises and then stays, not compiled. Nothing is written: to keep a result, train.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import SEEDS
from pipelines import paths, plotting, wording
from pipelines.pages.design import chosen
from pipelines.parameters import PARAMS, Parameters

if TYPE_CHECKING:
    from lmmodel.learning.plan import Plan
    from lmmodel.learning.trial import Batches, Learner, Moment
    from lmmodel.text.batches import TokenBatch

_HELD_OUT_TOKENS = 32_768


@dataclass(frozen=True)
class Ground:
    """What a trial stands on: batches, held-out rows, and the bytes that each of these stands for."""

    batches: Batches
    held_out: list[TokenBatch]
    bytes_R: np.ndarray
    plan: Plan


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which designs, for how long."""
    for name in ("one", "other"):
        parser.add_argument(name, metavar="NAME|FILE|.", help="a design; . is the one in params.yaml")
    parser.add_argument("--seconds", type=float, default=60, help="of training, for both together (60)")
    parser.add_argument("--seed", type=int, default=None, help="draws first weights and batches (params.yaml's)")
    parser.add_argument("--json", action="store_true", help="curves and differences as data")


def show(told: argparse.Namespace) -> None:
    """Let both learn, and print the curves and the differences."""
    if told.seconds <= 0:
        raise Refusal("lmmodel trial: --seconds should be more than 0")
    if told.seed is not None and told.seed not in SEEDS:
        raise Refusal(f"lmmodel trial: --seed should be from 0 to {SEEDS[-1]:,}")
    sides = [chosen(None if name in (".", str(PARAMS)) else name, published_size=False) for name in _names(told)]
    seed = sides[0].seed if told.seed is None else told.seed
    ground = _ground(sides, seed)
    learners = [_learner(side, seed, ground.plan) for side in sides]
    moments = _competed(told, learners, ground)
    names = _apart(_names(told))
    if told.json:
        print(json.dumps(_data(names, seed, learners, moments, ground), indent=1))
    else:
        print("\n".join(page(names, seed, learners, moments, ground)))


def _names(told: argparse.Namespace) -> list[str]:
    return [told.one, told.other]


def _apart(names: list[str]) -> list[str]:
    """As they are called on the page, also where both are the same."""
    shown = [str(PARAMS) if name == "." else name for name in names]
    return shown if shown[0] != shown[1] else [shown[0], f"{shown[1]} again"]


def _ground(sides: list[Parameters], seed: int) -> Ground:
    """The data that the stages made, for designs of one context and one vocabulary; a Refusal where that cannot be."""
    from lmmodel.text.batches import PretrainBatches
    from lmmodel.text.shards import Shards
    from lmmodel.text.tokenizer import Tokenizer

    one, other = (side.declaration for side in sides)
    for key in ("context", "vocab_size"):
        if getattr(one, key) != getattr(other, key):
            raise Refusal(f"lmmodel trial: the designs differ in {key}, {getattr(one, key)} and {getattr(other, key)}")
    where = {name: paths.stage(name).output for name in ("shards", "tokenizer")}
    for name, folder in where.items():
        if not (folder / "index.json").is_file() and not any(folder.glob("*")):
            raise Refusal(f"{folder}: is not here, and a trial learns from it; `dvc repro {name}` makes it")
    shards, section = Shards.open(where["shards"]), sides[0].sections["pretrain"]
    if shards.vocab_size != one.vocab_size:
        raise Refusal(f"{where['shards']}: has a vocabulary of {shards.vocab_size:,}, params.yaml {one.vocab_size:,}")
    plan = _plan(sides[0])
    separate = section.documents == "separate"  # type: ignore[attr-defined]
    batches = PretrainBatches(shards, context=one.context, sequences=plan.sequences, seed=seed, separate=separate)
    held_out = list(batches.validation(_HELD_OUT_TOKENS))
    lengths_V = Tokenizer.load(where["tokenizer"]).byte_lengths()
    bytes_R = np.concatenate([_bytes(batch, lengths_V) for batch in held_out])
    return Ground(batches, held_out, bytes_R, plan)


def _bytes(batch: TokenBatch, lengths_V: np.ndarray) -> np.ndarray:
    lengths_BT = lengths_V[batch.targets_BT] * (1 if batch.weights_BT is None else batch.weights_BT)
    return lengths_BT.sum(axis=1)


def _plan(given: Parameters) -> Plan:
    """Device, precision and parts of a batch, as a pretraining here would have them."""
    from lmmodel.learning import plan

    section: Any = given.sections["pretrain"]
    work = plan.Work(1, 1.0, given.declaration.context, tokens_per_epoch=10**9)
    return replace(plan.decide(section, given.launch, work), compiled=False)


def _learner(given: Parameters, seed: int, plan: Plan) -> Learner:
    from lmmodel.architecture.model import build
    from lmmodel.learning.trial import Learner

    section: Any = given.sections["pretrain"]
    return Learner(build(given.declaration, seed=seed), plan, section)


def _competed(told: argparse.Namespace, learners: list[Learner], ground: Ground) -> list[Moment]:
    from lmmodel.learning.trial import Moment, compete

    moments = []
    for event in compete(learners[0], learners[1], ground.batches, seconds=told.seconds, held_out=ground.held_out):
        if isinstance(event, Moment):
            moments.append(event)
        elif sys.stderr.isatty():
            spent = sum(learner.spent for learner in learners)
            print(f"\r  {event:,} steps, {spent:,.0f} of {told.seconds:,.0f} s ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    return moments


# -- what came out ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Bits per byte of both on the held-out rows, the second less the first, and half the width of its interval."""

    bits_per_byte: tuple[float, float]
    difference: float
    half_width: float

    @property
    def verdict(self) -> int:
        """-1: the second is better, 1: the first is, 0: cannot be told."""
        return 0 if abs(self.difference) <= self.half_width else int(math.copysign(1, self.difference))


def difference(moment: Moment, bytes_R: np.ndarray) -> Difference:
    """Paired, row by row: what is hard in a row is hard for both, and falls out."""
    from lmmodel.inference import intervals

    one_R, other_R = (nats_R / math.log(2) for nats_R in moment.nats_R)
    whole = bytes_R.sum()
    half = intervals.ratio(other_R - one_R, bytes_R)
    return Difference((one_R.sum() / whole, other_R.sum() / whole), float((other_R - one_R).sum() / whole), half)


def page(names: list[str], seed: int, learners: list[Learner], moments: list[Moment], ground: Ground) -> Iterator[str]:
    """Curves over tokens and over seconds, then both differences and what they are worth."""
    plan = ground.plan
    on = wording.several(plan.threads, "core") if plan.device == "cpu" else plan.device
    yield f"{names[0]} against {names[1]}, seed {seed}, {on}, {plan.precision}, batches of {plan.batch_tokens:,} tokens"
    steps = moments[0].steps[0]
    tokens = [(step + 1) * plan.batch_tokens for step in range(steps)]
    by_tokens = {name: (tokens, side.losses_nats[:steps]) for name, side in zip(names, learners, strict=True)}
    by_seconds = {name: (side.seconds, side.losses_nats) for name, side in zip(names, learners, strict=True)}
    for lines, under, along in ((by_tokens, "tokens", "tokens"), (by_seconds, "s", "seconds")):
        yield ""
        yield f"  loss of each batch before it is learnt from, nats a token, by {along} spent"
        yield from plotting.curves(lines, under=under)
    yield ""
    found = [difference(moment, ground.bytes_R) for moment in moments]
    held = [sum(parameter.numel() for parameter in side.model.parameters()) for side in learners]
    yield from wording.table(_table(names, held, moments, found, plan.batch_tokens), "<>>>")
    yield ""
    yield from wording.entry("", _verdict(names, found), at=2)
    rows = len(ground.bytes_R)
    what = (
        f"Differences are {names[1]} less {names[0]}, and fewer bits are better, on the same {rows:,} held-out rows of "
        f"{plan.context:,} tokens. Intervals are 95 %, paired over these rows: they hold for other text like it, from "
        f"these first weights and batches. For others, try another --seed."
    )
    yield from wording.entry("", what, at=2)


def _table(
    names: list[str], held: list[int], moments: list[Moment], found: list[Difference], batch_tokens: int
) -> Iterator[tuple[str, ...]]:
    yield ("", *names, "difference")
    yield ("  parameters", *(f"{count:,}" for count in held), f"{held[1] - held[0]:+,}")
    for moment, one in zip(moments, found, strict=True):
        yield (f"  after equal {moment.name}", "", "", "")
        yield ("    tokens", *(f"{steps * batch_tokens:,}" for steps in moment.steps), "")
        yield ("    seconds", *(f"{seconds:.1f}" for seconds in moment.seconds), "")
        low, high = one.difference - one.half_width, one.difference + one.half_width
        interval = f"{one.difference:+.3f} [{low:+.3f}, {high:+.3f}]"
        yield ("    bits per byte", *(f"{bits:.3f}" for bits in one.bits_per_byte), interval)


def _verdict(names: list[str], found: list[Difference]) -> str:
    said = []
    for one, what in zip(found, ("token by token", "second by second"), strict=True):
        if one.verdict:
            said.append(f"{what}, {names[0] if one.verdict > 0 else names[1]} learns faster")
        else:
            said.append(f"{what}, these rows cannot tell them apart")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}, from this start."


def _data(
    names: list[str], seed: int, learners: list[Learner], moments: list[Moment], ground: Ground
) -> dict[str, Any]:
    plan = ground.plan
    curves = {
        name: {"losses_nats": side.losses_nats, "seconds": side.seconds}
        for name, side in zip(names, learners, strict=True)
    }
    after = {}
    for moment in moments:
        one = difference(moment, ground.bytes_R)
        after[f"equal_{moment.name}"] = {
            "steps": moment.steps,
            "seconds": moment.seconds,
            "bits_per_byte": one.bits_per_byte,
            "difference": one.difference,
            "interval_95": (one.difference - one.half_width, one.difference + one.half_width),
        }
    facts = {"seed": seed, "device": plan.device, "precision": plan.precision, "batch_tokens": plan.batch_tokens}
    return {**facts, "held_out_rows": len(ground.bytes_R), "curves": curves, "after": after}
