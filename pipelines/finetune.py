"""The stage `finetune`: the pretrained model taught to answer, by the same loop, from dialogues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmmodel import folder
from lmmodel.learning import checkpoint, curve
from lmmodel.learning.families import METHOD
from lmmodel.learning.settings import Finetune
from pipelines import work

if TYPE_CHECKING:
    from lmmodel.architecture.declaration import Declaration
    from lmmodel.text.tokenizer import Tokenizer


def produce(job: work.Job[Finetune]) -> None:
    """Train on the answers of dialogues what the method says; or say that nothing was to be done."""
    method = job.section.method
    if METHOD.declares(method.kind, "skips", method.file):
        _skip(job)
        return
    from lmmodel.text.batches import DialogueBatches
    from pipelines import training

    pretrained, dialogues = job.inputs["pretrain"], job.inputs["dialogues"]
    model, tokenizer = checkpoint.load(pretrained, code=checkpoint.own_kinds(pretrained))
    how = METHOD.load(method.kind, method.file)(method.options)
    how.prepare(model.train(), seed=job.seed)
    context = model.declaration.context
    batches = DialogueBatches(
        dialogues,
        tokenizer,
        context=context,
        sequences=job.section.sequences(context),
        seed=job.seed,
    )
    training.train(
        job,
        model,
        batches=batches,
        tokenizer=pretrained / checkpoint.TOKENIZER,
        data={name: folder.digest(path / folder.INDEX) for name, path in job.inputs.items()},
        finish=how.finish,
        flops_per_token=flops_per_token(job.section, model.declaration),
        prompt=_question(next(batches.validation(context)).tokens_BT[0].tolist(), tokenizer),
    )


def flops_per_token(section: Finetune, declaration: Declaration) -> float | None:
    """Of training, where the method teaches fewer than all weights: as rehearsed, which takes half a second.

    None where it teaches all, and a token costs what it did in pretraining.
    """
    if METHOD.declares(section.method.kind, "learns_all", section.method.file):
        return None
    from lmmodel.learning.rehearsal import rehearse

    (step,) = rehearse(declaration, section, precision="float32", sequences=(1,))
    return step.part.flops / declaration.context


def dismiss() -> None:
    """Let other processes of this training go."""
    from pipelines import training

    training.dismiss()


def _question(tokens: list[int], tokenizer: Tokenizer) -> list[int]:
    """Up to where the first answer of a row begins."""
    return tokens[: tokens.index(tokenizer.assistant) + 1] if tokenizer.assistant in tokens else tokens[:1]


def _skip(job: work.Job[Finetune]) -> None:
    """A folder that says why there is no model in it."""
    told = {"skipped": f"finetune.method is {job.section.method.kind}"}
    (job.output / "skipped.json").write_text(folder.canonical(told), encoding="utf-8")
    folder.seal(job.output, told)
    curve.write(job.curve, [])
    job.metrics(told)


if __name__ == "__main__":
    work.run("finetune", Finetune, produce, dismiss=dismiss)
