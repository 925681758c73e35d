"""What `dvc repro` would do and why, exactly: by key with both values, and how long it took the last time.

A stage is unchanged, restored from DVC's cache, resumed where it was stopped, or run. Or it is run unless a stage
before it gives the same bytes as it once did, which nobody can know yet. The whole of params.yaml is validated first.
Nothing is run, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from pipelines import outlook, parameters, record, wording
from pipelines.outlook import Step

_USUAL_SECONDS = {
    "design": 6,
    "corpus": 5,
    "tokenizer": 3,
    "shards": 3,
    "dialogues": 6,
    "pretrain": 230,
    "finetune": 50,
    "evaluate": 60,
}
"""What this project comes with, on two processor cores (docs/performance.md): what a first run is told."""

_NEVER_HERE = (("it never ran",), (outlook.ELSEWHERE,))


def arguments(parser: argparse.ArgumentParser) -> None:
    """As text, or as data."""
    parser.add_argument(
        "--json", action="store_true", help="as data: a list of {stage, action, why, unless, at_step, seconds}"
    )


def show(told: argparse.Namespace) -> None:
    """Print the plan for what stands here."""
    steps = outlook.plan(parameters.read())
    print(json.dumps([asdict(step) for step in steps], indent=1) if told.json else "\n".join(page(steps)))


def page(steps: list[Step]) -> list[str]:
    """The plan as lines; one line where there is nothing to do."""
    waiting = [step for step in steps if step.action != "unchanged"]
    if not waiting:
        return ["params.yaml is sound, and everything is up to date."]
    if all(step.why in _NEVER_HERE and step.action in ("run", "run unless") for step in steps):
        return [f"params.yaml is sound. Nothing was made yet. {_altogether(waiting)} `dvc repro` makes it."]
    lines = ["params.yaml is sound. `dvc repro` would:", ""]
    wide = max(len(_does(step)) for step in waiting) + 3
    for step in waiting:
        took = wording.duration(step.seconds) if step.seconds and step.action != "restored" else ""
        head = f"{step.stage:<12}{_does(step):<{wide}}{took:<12}"
        lines += wording.entry(head, _reasons(step), at=len(head) + 3, indent=2)
    if idle := [step.stage for step in steps if step.action == "unchanged"]:
        lines += wording.entry(f"{wording.listed(idle)}:", "unchanged", at=0, indent=2)
    return [*lines, "", f"{_altogether(waiting)} `dvc repro` makes it."]


def _does(step: Step) -> str:
    if step.at_step is not None:
        return f"resumed at step {step.at_step:,}"
    return step.action


def _reasons(step: Step) -> str:
    unless = [f"unless {wording.listed(step.unless)} {_give(step)} the same bytes"] if step.unless else []
    return "; ".join([*([record.some(list(step.why))] if step.why else []), *unless])


def _give(step: Step) -> str:
    return "gives" if len(step.unless) == 1 else "give"


def _altogether(waiting: list[Step]) -> str:
    """How long all of it may take, from what it took before; for what never ran here, from what it takes elsewhere."""
    slow = [step for step in waiting if step.action != "restored"]
    total = sum(_expected(step) for step in slow)
    about = wording.duration(max(10, round(total / 10) * 10))
    if not slow:
        return "A few seconds altogether: all of it is in DVC's cache."
    if all(step.seconds or step.stage == "design" for step in slow):
        return f"About {about} altogether, as the last time."
    return f"About {about} altogether on two cores, with the parameters that this project comes with."


def _expected(step: Step) -> float:
    """Seconds that a stage may take. What it needs of a training that goes on, nobody can tell: at most all of it."""
    return step.seconds or _USUAL_SECONDS[step.stage]
