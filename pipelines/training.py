"""What `pretrain` and `finetune` share: a model and batches, through the one training loop, to a sealed checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lmmodel.learning import checkpoint, curve, plan
from lmmodel.learning.settings import Finetune, Pretrain
from lmmodel.params.refusal import Refusal
from pipelines import watching, work

if TYPE_CHECKING:
    from lmmodel.architecture.model import Model
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
) -> None:
    """Train `model` as the job's section says, and hand in the checkpoint, the curve and the numbers.

    tokenizer: its folder. data: digests of what was learnt from, by name. prompt: tokens that samples go on from.
    finish: makes the trained model what is kept.
    """
    from lmmodel.learning.training import Training
    from lmmodel.text.tokenizer import Tokenizer

    words = Tokenizer.load(tokenizer)
    there = plan.Work.of(model.declaration, tokens_per_epoch=batches.tokens_per_epoch)
    training = Training(
        model,
        batches,
        plan=plan.kept(job.scratch) or plan.decide(job.section, job.launch, there),
        section=job.section,
        seed=job.seed,
        byte_lengths_V=words.byte_lengths(),
        scratch=job.scratch,
    )
    try:
        for _ in watching.shown(training.run(), job, model=model, tokenizer=words, prompt=prompt, to_do=there):
            pass
    except Refusal as refusal:
        raise Refusal(f"{job.stage}: {refusal}") from None
    finish(model)
    decided = training.plan
    made = {"step": training.kept, "tokens": int(training.row["tokens"])}
    facts = {"stage": job.stage, **made, "seed": job.seed, "data": data}
    if training.step < decided.steps:
        facts["stopped"] = {"step": training.step, "of": decided.steps}
    checkpoint.save(job.output, model=model, tokenizer=tokenizer, facts={**facts, "platform": decided.record()})
    curve.write(job.curve, training.rows)
    job.metrics(_numbers(training, there))


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
