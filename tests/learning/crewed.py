"""A training in several processes: `crewed.py SCRATCH PROCESSES STEPS DESIGN [SAVE_SECONDS [MORE]]`.

MORE is JSON: what `section` and `launch` are told beside the usual, `lora`: what that is told. The first process says
each step; in the end it writes the weights, the curve, and the health of the last validation.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lmmodel.learning import curve
from lmmodel.learning.crew import Crew
from lmmodel.learning.crewed import together
from lmmodel.learning.method import lora
from lmmodel.learning.plan import kept, shared
from lmmodel.learning.reports import Stepped, Validated
from lmmodel.learning.settings import Launch
from lmmodel.learning.training import Training
from lmmodel.params.refusal import Refusal
from tests.learning import small

DESIGNS: dict[str, dict[str, Any]] = {
    "dense": {},
    "experts": {"feed_forward": {"kind": "experts", "experts": 4, "active": 2, "expansion": 1, "balance": "bias"}},
    "balanced": {"feed_forward": {"kind": "experts", "experts": 4, "active": 2, "expansion": 1}},
    "crossing": {
        "attention": {"kind": "multi_head", "value_residual": True},
        "block": {"kind": "prenorm", "scalars": "stream_and_first"},
        "embedding": {"tied": False},
        "head": {"ahead": 1},
    },
}


def training(scratch: Path, steps: int, model: Any, crew: Crew, save_seconds: float, more: dict[str, Any]) -> Training:
    told = small.section(
        **{
            "budget": {"tokens": steps * small.ROWS * small.CONTEXT},
            "optimizer": {"kind": "adamw", "learning_rate": 0.01},
            **more.get("section", {}),
        }
    )
    launch, precision = more.get("launch", {}), told.precision
    if precision == "float8":  # a processor computes it, if slowly, and is refused it
        told = told.model_copy(update={"precision": "bfloat16"})
    plan = kept(scratch) if crew.first else None
    again = Launch.model_validate(launch)
    plan = crew.told(
        shared(plan, again, processes=crew.size, scratch=scratch)
        if plan
        else small.plan(told, processes=crew.size, **launch)
    )
    plan = replace(plan, precision=precision)
    return small.training(
        scratch, told=told, model=model, plan=plan, crew=crew, save_seconds=save_seconds, keep=again.keep
    )


def main(scratch: Path, processes: int, steps: int, design: str, save_seconds: float = 1e9, more: str = "{}") -> None:
    told = json.loads(more)
    model = small.model(**DESIGNS[design])
    method = lora.Method(lora.Options.model_validate(told["lora"])) if "lora" in told else None
    if method is not None:
        method.prepare(model, seed=1)
    with together(processes, device="cpu", command=[sys.executable, *sys.argv]) as crew:
        one = training(scratch, steps, model, crew, save_seconds, told)
        for report in one.run():
            if isinstance(report, Stepped) and crew.first:
                print(report.step, report.loss_nats, report.gradient_norm, flush=True)
            elif isinstance(report, Validated) and crew.first:
                (scratch / "health.json").write_text(json.dumps(dict(report.health)))
    if method is not None:
        method.finish(model)
    if crew.first:
        state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
        save_file(state, scratch / "end.safetensors")
        curve.write(scratch / "curve.csv", one.rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, count, steps, design, *rest = sys.argv[1:]
    seconds = float(rest[0]) if rest else 1e9
    try:
        main(Path(folder), int(count), int(steps), design, seconds, *rest[1:])
    except Refusal as refusal:
        sys.exit(str(refusal))
