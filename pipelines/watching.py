"""What a person sees of a training: what it will do, a bar, text on the way, curves in MLflow.

Reports only. Everything passes through unchanged, and no output depends on whether anybody watched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lmmodel.learning.reports import Began, Report, Said, Stepped, Validated
from lmmodel.progress import Bar, bar
from pipelines import health, tracking

if TYPE_CHECKING:
    from lmmodel.learning.plan import Plan, Work
    from lmmodel.learning.settings import Finetune, Pretrain
    from lmmodel.learning.training import Training
    from lmmodel.text.tokenizer import Tokenizer
    from pipelines.work import Job

_FIRST_SAMPLE_SECONDS = 15.0  # after the first step; each later one waits twice as long
_SAMPLE_TOKENS = 40
_POINTS = 1000  # of a curve in MLflow, about
_EFFICIENCY = 0.5  # of a training step, against one large product of matrices


def shown(
    reports: Iterator[Report],
    job: Job[Pretrain] | Job[Finetune],
    *,
    training: Training,
    tokenizer: Tokenizer,
    prompt: list[int],
    to_do: Work,
) -> Iterator[Report]:
    """`reports` of `training` as they come, shown on the way. prompt: what samples go on from. to_do: how much."""
    first = next(reports)
    assert isinstance(first, Began)
    samples = _Samples(training, tokenizer, prompt)
    with tracking.follow(job, _decided(first.plan)) as run, bar(first.plan.tokens, "tok", job.stage) as line:
        line.say(f"{job.stage}: {_intention(first, to_do)}")
        line.advance(first.plan.tokens_before(first.step))
        yield first
        steps = first.step
        for report in reports:
            steps = report.step if isinstance(report, Stepped) else steps
            if isinstance(report, Validated):
                health.note(job.stage, job.identity, report.step, report.health)
            if isinstance(report, Stepped) and steps == first.step + 1:
                line.unpause()  # this step waited for the compiler
            _show(line, report, job.stage, first.plan)
            _track(run, report, first.plan)
            if isinstance(report, Stepped) and (text := samples.due(last=report.step == first.plan.steps)):
                line.say(text)
            yield report
        run.figures(_headline(first.plan.tokens_before(steps), to_do))


def _headline(tokens: int, to_do: Work) -> dict[str, float]:
    """What candidates are told apart by, beside the last point of their curves."""
    flops = tokens * to_do.flops_per_token
    epochs = tokens / to_do.tokens_per_epoch
    return {"parameters": to_do.parameters, "tokens": tokens, "epochs": epochs, "flops": flops}


def _decided(plan: Plan) -> dict[str, object]:
    return {"launch": plan.record() | {"steps": plan.steps}}


def _intention(began: Began, to_do: Work) -> str:
    """What will be done and about how long it takes, in a line."""
    plan, step = began.plan, began.step
    epochs = plan.tokens / to_do.tokens_per_epoch
    how = f"{plan.precision}, {'compiled' if plan.compiled else 'not compiled'}, on {plan.device}"
    where = f"goes on after step {step:,} of {plan.steps:,}" if step else f"{plan.steps:,} steps"
    left = (plan.tokens - plan.tokens_before(step)) * to_do.flops_per_token
    minutes = _spoken(left / (_EFFICIENCY * _flops_per_second(plan)))
    return (
        f"{where} of {plan.batch_tokens:,} tokens, {_large(plan.tokens)} in all or {epochs:,.1f} epochs; "
        f"{_large(to_do.parameters)} parameters, {how}: about {minutes}"
    )


def _flops_per_second(plan: Plan) -> float:
    """Of a product of matrices here and now, tried for a moment."""
    import torch

    from lmmodel.learning.weights import PRODUCTS

    size = 1024 if plan.device == "cpu" else 8192
    matrix = torch.ones(size, size, device=plan.device, dtype=PRODUCTS[plan.precision])
    times = []
    for _ in range(4):
        began = time.perf_counter()
        float((matrix @ matrix)[0, 0])
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def _large(number: int) -> str:
    return f"{number:,}" if number < 100_000 else f"{number / 1e6:,.2f} M"


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _show(line: Bar, report: Report, stage: str, plan: Plan) -> None:
    if isinstance(report, Said):
        line.say(f"{stage}: {report.text}")
    elif isinstance(report, Stepped):
        line.note(loss=f"{report.loss_nats:.3f}")
        line.advance(report.tokens - plan.tokens_before(report.step - 1))
    elif isinstance(report, Validated):
        line.say(
            f"{stage}: step {report.step:,}, validation {report.loss_nats:.4f} nats a token, "
            f"{report.bits_per_byte:.4f} bits per byte (training {report.train_loss_nats:.4f} nats)"
        )


def _track(run: tracking.Run, report: Report, plan: Plan) -> None:
    if isinstance(report, Validated):
        figures = {"validation_loss_nats": report.loss_nats, "validation_bits_per_byte": report.bits_per_byte}
        run.log({**figures, **{f"health/{name}": value for name, value in report.health.items()}}, step=report.step)
    elif isinstance(report, Stepped) and report.step % max(1, plan.steps // _POINTS) == 0:
        names = ("loss_nats", "gradient_norm", "rate", "tokens_per_second")
        run.log({name: getattr(report, name) for name in names}, step=report.step)


class _Samples:
    """Text that the model goes on with, ever more rarely: the first within a minute, the last at the end.

    By the weights that it is judged by. None of a model in pieces: it takes all processes to compute with it.
    """

    def __init__(self, training: Training, tokenizer: Tokenizer, prompt: list[int]) -> None:
        self.training, self.tokenizer, self.prompt = training, tokenizer, prompt
        self._wait, self._next = _FIRST_SAMPLE_SECONDS, 0.0

    def due(self, *, last: bool) -> str:
        """A sample, when it is time for one, or nothing."""
        now = time.monotonic()
        if not self._next:
            self._next = now + self._wait
        if (now < self._next and not last) or self.training.plan.sharded:
            return ""
        self._wait *= 2
        self._next = now + self._wait
        return self._sample()

    def _sample(self) -> str:
        from lmmodel.inference.generation import generate

        stop = (self.tokenizer.begin, self.tokenizer.end)
        with self.training.judging():
            told = generate(self.training.model, [self.prompt], tokens=_SAMPLE_TOKENS, temperature=0.8, stop=stop)[0]
        before, after = (" ".join(self.tokenizer.decode(ids).split()) for ids in (self.prompt, told))
        return f"  it says:  {before} | {after}"
