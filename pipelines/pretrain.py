"""The stage `pretrain`: a language learnt from documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmmodel import folder
from lmmodel.learning import plan
from lmmodel.learning.families import METHOD
from lmmodel.learning.settings import Pretrain
from pipelines import training, work

if TYPE_CHECKING:
    from pipelines.parameters import Parameters

_PROMPT_TOKENS = 12


def produce(job: work.Job[Pretrain]) -> None:
    """Train the declared design on the shards."""
    from lmmodel.architecture.declaration import Declaration
    from lmmodel.architecture.model import build
    from lmmodel.text.batches import PretrainBatches
    from lmmodel.text.shards import Shards

    declared = job.inputs["declaration"]
    declaration = Declaration.parse(declared.read_bytes(), name=str(declared))
    context = declaration.context
    batches = PretrainBatches(
        Shards.open(job.inputs["shards"]),
        context=context,
        sequences=job.section.sequences(context),
        seed=job.seed,
        separate=job.section.documents == "separate",
    )
    held_out = next(batches.validation(context))
    training.train(
        job,
        build(declaration, seed=job.seed),
        batches=batches,
        tokenizer=job.inputs["tokenizer"],
        data={"shards": folder.digest(job.inputs["shards"] / folder.INDEX)},
        prompt=held_out.tokens_BT[0, :_PROMPT_TOKENS].tolist(),
    )


def foresee(given: Parameters) -> None:
    """A Refusal where the fine-tuning that follows could not be done as it is told: now, not after the pretraining."""
    then: Any = given.sections["finetune"]
    if not METHOD.declares(then.method.kind, "skips", then.method.file):
        with training.told_with("pretrain: finetune comes next"):
            plan.foresee(then, given.launch, context=given.declaration.context)


if __name__ == "__main__":
    work.run("pretrain", Pretrain, produce, dismiss=training.dismiss, foresee=foresee)
