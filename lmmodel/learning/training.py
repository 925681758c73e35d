"""The one training loop, a generator of reports.

    training = Training(model, batches, plan=..., section=..., seed=..., byte_lengths_V=..., scratch=...)
    for report in training.run():
        ...

Step n is a pure function of what is saved after step n - 1: its batch follows from (seed, n), its rate from n, and what
draws at random is seeded by (seed, n). So a training that is killed at any moment goes on from what it last saved, and
ends in the same bytes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lmmodel.architecture.roles import roles
from lmmodel.learning import machine, saving, validation
from lmmodel.learning.blame import blamed
from lmmodel.learning.crew import ALONE, Crew
from lmmodel.learning.dropout import Dropout
from lmmodel.learning.health import Health
from lmmodel.learning.judged import Judged, best
from lmmodel.learning.loss import Batch, Losses
from lmmodel.learning.pace import Pace
from lmmodel.learning.parts import Batches, on_device, parts, place, some, weight
from lmmodel.learning.plan import Plan, keep
from lmmodel.learning.recomputing import recomputed
from lmmodel.learning.reports import Began, Report, Said, Saved, Stepped, Validated
from lmmodel.learning.settings import LAST_TWO, Finetune, Keep, Pretrain
from lmmodel.learning.sharded import held
from lmmodel.learning.spike import Spikes, traced
from lmmodel.learning.stopping import listening
from lmmodel.learning.update import Update
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model
    from lmmodel.text.batches import TokenBatch

SAVE_SECONDS = 30.0
"""Between two saved states: about what a kill costs. When they are made changes nothing in the result."""


class Training:
    """A model on its way through a plan. `rows` is its curve so far, one row for each validation."""

    def __init__(
        self,
        model: Model,
        batches: Batches,
        *,
        plan: Plan,
        section: Pretrain | Finetune,
        seed: int,
        byte_lengths_V: np.ndarray,
        scratch: Path,
        save_seconds: float = SAVE_SECONDS,
        crew: Crew = ALONE,
        keep: Keep = LAST_TWO,
    ) -> None:
        self.batches, self.plan, self.section, self.scratch, self.crew = batches, plan, section, scratch, crew
        self.seed, self.byte_lengths_V, self.save_seconds = seed, byte_lengths_V, save_seconds
        self.objective, self.weights = held(model, plan, section.optimizer, crew)
        self.model = self.objective.model
        self.states = saving.of(scratch, keep, crew, self.weights)
        self.update = Update(
            self.weights.masters,
            roles=roles(self.model),
            optimizer=section.optimizer,
            schedule=section.schedule,
            clip=section.clip,
            dtype=self.weights.products,
        )
        ema, stopping = section.ema, section.early_stopping
        self.judged = Judged(self.model, self.weights, self.update, ema=ema, early_stopping=stopping)
        self.health = Health(self.model, self.weights.masters, crew=crew if plan.sharded else ALONE)
        self.dropout = Dropout(self.model, section.dropout)
        self._forward: Callable[[Batch], Losses] = self.objective
        self._spikes, self._remark = Spikes(), ""
        self.step = 0
        self.rows: list[dict[str, float]] = []
        self._sums = {"nats": 0.0, "tokens": 0.0}  # of the training loss since the last row

    def run(self) -> Iterator[Report]:
        """Train from where it stands to the end of the plan; the model is left in float32."""
        machine.keep_freed_memory()
        again, dropout = recomputed(self.model, wanted=self.plan.recomputed), self.dropout.at_work()
        exact = machine.determined(self.plan.device, self.plan.threads, compiled=self.plan.compiled)
        with self.states.held(), exact, again, dropout, listening() as stop:
            if self.crew.first:
                keep(self.plan, self.scratch)
            self._resume()
            yield Began(self.plan, self.step)
            yield from self._compile()
            pace, saved = Pace(self.plan.tokens - self.plan.tokens_before(self.step)), time.monotonic()
            while not self.done:
                yield self._advance(pace)
                if self._remark:
                    yield Said(self._remark)
                if self.step in self.plan.validations:
                    yield self._validate()
                due = self.crew.first and time.monotonic() - saved >= self.save_seconds
                asked, due = self.crew.anywhere(bool(stop.asked), due)
                if asked or due or self.done or self.states.due(self.step, self._best):
                    self._save()
                    yield Saved(self.step)
                    saved = time.monotonic()
                if asked and not self.done:
                    why = stop.asked or "asked to stop"
                    yield Said(f"{why} after step {self.step:,} of {self.plan.steps:,}, which is saved")
                    raise KeyboardInterrupt
            if self.step < self.plan.steps:
                yield Said(f"stops after step {self.step:,}: no validation was better than that of step {self.kept:,}")
            self.judged.settle()

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Inside, the model computes with the weights that it is judged by, and with all of them."""
        with self.weights.at(self.judged.values()), self.dropout.resting():
            yield

    @property
    def done(self) -> bool:
        """Whether the plan is at its end, or the validations say that more is of no use."""
        return self.step == self.plan.steps or self.judged.exhausted(self.rows)

    @property
    def row(self) -> Mapping[str, float]:
        """Of the curve: the weights that are left at the end."""
        return self.judged.row(self.rows)

    @property
    def kept(self) -> int:
        """The step whose weights those are."""
        return int(self.row["step"])

    @property
    def _best(self) -> int | None:
        """The step of the best validation so far."""
        return int(self.rows[best(self.rows)]["step"]) if self.rows else None

    def _compile(self) -> Iterator[Report]:
        """Compile the step, where that is planned; where it cannot be done, at the very start, do without it."""
        if not self.plan.compiled or self.done:
            return
        yield Said("compiling the step, which takes up to a minute the first time")
        self._forward, trouble = torch.compile(self.objective, dynamic=False), ""
        try:
            self._forward(next(self._parts(self._batch()))).total.backward()
        except Exception as error:  # a compiler's own, of any kind; what is wrong with the model itself comes again
            if self.step:
                raise
            trouble = str(error).strip().splitlines()[0]
        if said := [one for one in self.crew.said(trouble) if one]:
            self._forward, self.plan = self.objective, replace(self.plan, compiled=False)
            if self.crew.first:
                keep(self.plan, self.scratch)
            yield Said(f"this cannot be compiled here, so it is not ({said[0]})")
        self.model.zero_grad()

    # --- one step

    def _advance(self, pace: Pace) -> Stepped:
        """Gradients of the whole batch, summed over its parts; then one update."""
        torch.manual_seed(_mixed(self.seed, self.step, self.crew.rank))
        batch = self._batch()
        tokens = self.crew.totals(weight(batch))[0] or 1.0  # it is divided by
        reports: dict[str, Tensor] = {}
        summed = torch.zeros((), device=self.plan.device)
        for part in self._parts(batch):
            losses = self._forward(part)
            (losses.total / tokens).backward()
            self.weights.gather()
            summed += losses.nats
            reports = {name: value + reports.get(name, 0) for name, value in losses.reports.items()}
        self.weights.sum()
        nats, reports = self.crew.totals(float(summed))[0], self.crew.reports(reports)
        norm, fraction = self.weights.norm(self.update.norm()), self.plan.fraction(self.step)
        loss_nats, gradient_norm = nats / tokens, float(norm)
        if not (math.isfinite(loss_nats) and math.isfinite(gradient_norm)):
            self._refuse(batch, loss_nats)
        self._remark = self._spike(batch, loss_nats)
        looked_at = self.step + 1 in self.plan.validations
        if looked_at:
            self.health.before()
        self.update.apply(fraction, norm)
        if looked_at:
            self.health.after()
        self.weights.publish()
        self._adapt(reports)
        self.step += 1
        self.judged.follow(self.step)
        self._sums = {"nats": self._sums["nats"] + loss_nats * tokens, "tokens": self._sums["tokens"] + tokens}
        done = self.plan.tokens_before(self.step)
        speed, left = pace.step(done - self.plan.tokens_before(self.step - 1))
        return Stepped(self.step, done, loss_nats, gradient_norm, self.update.rate(fraction), speed, left)

    def _batch(self) -> TokenBatch:
        """This process's rows of what the next step is made from."""
        number, rows = self._place()
        return some(self.batches.batch(number), rows)

    def _place(self, step: int | None = None) -> tuple[int, slice]:
        """Which whole batch that of `step` is, the next where none is told, and which of its rows."""
        number, rows = self.plan.portions.place(self.step if step is None else step)
        own = self.crew.rows(rows.stop - rows.start)
        return number, slice(rows.start + own.start, rows.start + own.stop)

    def _parts(self, batch: TokenBatch) -> Iterator[Batch]:
        return parts(batch, self.plan.micro_sequences, self.plan.device)

    def _adapt(self, reports: dict[str, Tensor]) -> None:
        if reports:
            with torch.no_grad():
                self.model.adapt(reports)

    def _refuse(self, batch: TokenBatch, loss_nats: float) -> None:
        """Say where what is not finite came from, and keep the state before it."""
        number, rows = self._place()
        objective, device = self.weights.alone(self.objective, self.plan.device)
        cause, row = blamed(objective, objective.model, parts(batch, self.plan.micro_sequences, device))
        if row is not None:
            cause += (
                f"; it is row {rows.start + row} of batch {number:,}{place(self.batches, number, rows.start + row)}"
            )
        causes = self.crew.said((row is None, cause))
        cause = min(causes, key=lambda one: one[0])[1]  # the first that knows its row
        broken = any(not bool(torch.isfinite(master).all()) for master in self.weights.masters.values())
        if not self.crew.anywhere(broken)[0]:
            self._save()
        what = f"the loss is {loss_nats}" if not math.isfinite(loss_nats) else "a gradient is not finite"
        raise self._refusal(f"step {self.step + 1:,} of {self.plan.steps:,}: {what}; {cause}")

    def _refusal(self, what: str) -> Refusal:
        """In which `what` went wrong, with where the state before it is."""
        kept = saving.states(self.scratch)
        state = f"The state before it is in {kept[-1]}." if kept else "No state had been saved."
        return Refusal(f"{what}.\n{state}")

    def _spike(self, batch: TokenBatch, loss_nats: float) -> str:
        """In words what made the loss jump, nothing where it did not; of a model in pieces the batch alone is told."""
        usual, (number, rows) = self._spikes.seen(loss_nats), self._place()
        if usual is None:
            return ""
        jumped = f"step {self.step + 1:,}: the loss jumped to {loss_nats:.2f} from {usual:.2f}"
        if self.plan.sharded:
            return f"{jumped} in batch {number:,}"
        earlier, earlier_rows = self._place(self.step - 1)
        objective, device = self.objective, self.plan.device
        two = (batch, some(self.batches.batch(earlier), earlier_rows))
        drawing = [torch.cuda.current_device()] if device == "cuda" else []
        with torch.random.fork_rng(devices=drawing), self.dropout.resting():
            both = (parts(one, self.plan.micro_sequences, device) for one in two)
            found = traced(objective, objective.model, *both, usual_nats=usual)
        nats, row, cause = max(self.crew.said((found.row_nats, rows.start + found.row, found.cause)))
        where = f"row {row} of batch {number:,}, which cost {nats:.2f}{place(self.batches, number, row)}"
        return f"{jumped}; {where}; {cause}"

    # --- what it is worth

    def _validate(self) -> Validated:
        """Validation text in the shape of the training's parts, with gradients: so one compiled step serves both.

        A Refusal where its loss is not finite.
        """
        tally = validation.Tally(self.byte_lengths_V)
        health: dict[str, float] = {}
        with self.judging():
            held_out, rows = self.batches.validation(self.section.validation.tokens), self.plan.micro_sequences
            for batch in self.crew.turns(validation.filled(held_out, min(rows, self.plan.sequences))):
                part = on_device(batch, self.plan.device)
                tally.add(batch, float(self._forward(part).nats))
                health = health or self.health.probe(part.tokens_BT, part.documents_BT)
        tally.nats, tally.tokens, tally.bytes = self.crew.totals(tally.nats, tally.tokens, tally.bytes)
        score, done = tally.score(), self.plan.tokens_before(self.step)
        if not math.isfinite(score.loss_nats):
            after = f"after step {self.step:,} of {self.plan.steps:,}: the validation loss is {score.loss_nats}"
            raise self._refusal(f"{after}: the last update broke the weights, as too high a learning rate does")
        train = self._sums["nats"] / self._sums["tokens"]
        self.rows.append(
            {
                "step": self.step,
                "tokens": done,
                "loss_nats": train,
                "validation_loss_nats": score.loss_nats,
                "validation_bits_per_byte": score.bits_per_byte,
            }
        )
        self.judged.note(self.rows)
        self._sums = {"nats": 0.0, "tokens": 0.0}
        return Validated(self.step, done, train, *score, health)

    # --- what is kept on the way

    def _save(self) -> None:
        tensors: dict[str, Tensor] = {f"weights/{name}": master for name, master in self.weights.masters.items()}
        tensors |= {f"buffers/{name}": buffer for name, buffer in self.model.named_buffers()}
        tensors |= {f"optimizer/{path}": value for path, value in self.update.state().items()}
        tensors |= self.judged.state()
        facts: dict[str, Any] = {"step": self.step, "rows": self.rows, "sums": self._sums}
        self.states.save(self.step, tensors, facts, self._best)

    def _resume(self) -> None:
        """Go on from the newest saved state, where there is one."""
        if (found := self.states.latest()) is None:
            return
        tensors, facts = found
        self.weights.restore(_under("weights/", tensors))
        self.update.restore(_under("optimizer/", tensors))
        self.judged.restore(tensors)
        buffers = dict(self.model.named_buffers())
        for name, value in _under("buffers/", tensors).items():
            buffers[name].copy_(value)
        self.step, self.rows, self._sums = facts["step"], facts["rows"], facts["sums"]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _mixed(seed: int, step: int, rank: int) -> int:
    """A seed of its own for each step, and in it for each process: they draw for rows of their own."""
    told = f"{seed}:{step}:{rank}" if rank else f"{seed}:{step}"
    return int.from_bytes(sha256(told.encode()).digest()[:7], "big")
