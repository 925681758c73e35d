"""What `pretrain` and `finetune` share: a model and batches, through the one training loop, to a sealed checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lmmodel.learning import checkpoint, crewed, curve, machine, plan
from lmmodel.learning.settings import Finetune, Pretrain
from lmmodel.params.refusal import Refusal
from pipelines import watching, work

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model
    from lmmodel.learning.crew import Crew
    from lmmodel.learning.training import Batches, Training


def train(
    job: work.Job[Pretrain] | work.Job[Finetune],
    model: Model,
    *,
    batches: Batches,
    tokenizer: Path,
    data: dict[str, str],
    prompt: list[int],
    finish: Callable[[Model], None] = lambda model: None,
    flops_per_token: float | None = None,
) -> None:
    """Train `model` as the job's section says, and hand in the checkpoint, the curve and the numbers.

    tokenizer: its folder. data: digests of what was learnt from, by name. prompt: tokens that samples go on from.
    finish: makes the trained model what is kept. flops_per_token: where training is not of every weight.
    """
    from lmmodel.learning.training import Training
    from lmmodel.text.tokenizer import Tokenizer

    words = Tokenizer.load(tokenizer)
    there = plan.Work.of(model.declaration, tokens_per_epoch=batches.tokens_per_epoch)
    if flops_per_token is not None:
        there = replace(there, flops_per_token=flops_per_token)
    with told_with(job.stage), _crew(job) as crew:
        decided = _plan(job, there, crew)
        if decided is None:
            return
        training = Training(
            model,
            batches,
            plan=decided,
            section=job.section,
            seed=job.seed,
            byte_lengths_V=words.byte_lengths(),
            scratch=job.scratch,
            crew=crew,
            keep=job.launch.keep,
        )
        reports = training.run()
        if crew.first:
            reports = watching.shown(reports, job, training=training, tokenizer=words, prompt=prompt, to_do=there)
        for _ in reports:
            pass
    if not crew.first:
        return
    finish(model)
    decided = training.plan
    made = {"step": training.kept, "tokens": int(training.row["tokens"])}
    facts = {"stage": job.stage, **made, "seed": job.seed, "data": data}
    if training.step < decided.steps:
        facts["stopped"] = {"step": training.step, "of": decided.steps}
    checkpoint.save(job.output, model=model, tokenizer=tokenizer, facts={**facts, "platform": decided.record()})
    curve.write(job.curve, training.rows)
    job.metrics(_numbers(training, there))


def dismiss() -> None:
    """Let those go whom torchrun started to train, where nothing is left to do."""
    with crewed.together(1, device="cpu", command=[]) as crew:
        crew.told(None)


@contextmanager
def told_with(stage: str) -> Iterator[None]:
    """Inside, what is refused says of what."""
    try:
        yield
    except Refusal as refusal:
        raise Refusal(f"{stage}: {refusal}") from None


def _crew(job: work.Job[Pretrain] | work.Job[Finetune]) -> AbstractContextManager[Crew]:
    """Who trains: those that `launch.processes` asks for, or that torchrun has started."""
    command = [sys.executable, "-m", f"pipelines.{job.stage}"]
    return crewed.together(job.launch.processes, device=machine.device(job.launch.device), command=command)


def _plan(job: work.Job[Pretrain] | work.Job[Finetune], there: plan.Work, crew: Crew) -> plan.Plan | None:
    """What the first process has kept or decides, for all; None where it says that there is nothing to do."""
    decided = None
    if crew.first:
        kept = plan.kept(job.scratch)
        size = crew.size
        if kept:
            decided = plan.shared(kept, job.launch, processes=size, scratch=job.scratch)
        else:
            decided = plan.decide(job.section, job.launch, there, processes=size)
    told = crew.told((job.identity, decided))
    if told is None:
        return None
    if others := [rank for rank, same in enumerate(crew.said(told[0] == job.identity)) if not same]:
        raise Refusal(f"process {others[0]} of {crew.size} found other data, parameters or code than the first one")
    return told[1]


def _numbers(training: Training, there: plan.Work) -> dict[str, float]:
    """What came out, and what went in, without times."""
    kept, tokens = training.row, int(training.rows[-1]["tokens"])
    return {
        "validation_bits_per_byte": kept["validation_bits_per_byte"],
        "validation_loss_nats": kept["validation_loss_nats"],
        "loss_nats": kept["loss_nats"],
        "steps": training.step,
        "tokens": tokens,
        "epochs": tokens / there.tokens_per_epoch,
        "parameters": there.parameters,
        "flops": tokens * there.flops_per_token,
    }
