"""A training in several processes: `crewed.py SCRATCH PROCESSES STEPS DESIGN [SAVE_SECONDS]`, by torchrun or by itself.

The first process says each step; in the end it writes the weights, and the curve.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lmmodel.learning import curve
from lmmodel.learning.crew import Crew
from lmmodel.learning.crewed import together
from lmmodel.learning.plan import kept, shared
from lmmodel.learning.reports import Stepped
from lmmodel.learning.training import Training
from lmmodel.params.refusal import Refusal
from tests.learning import small

DESIGNS = {
    "dense": {},
    "experts": {"feed_forward": {"kind": "experts", "experts": 4, "active": 2, "expansion": 1, "balance": "bias"}},
    "balanced": {"feed_forward": {"kind": "experts", "experts": 4, "active": 2, "expansion": 1}},
}


def training(scratch: Path, steps: int, design: str, crew: Crew, save_seconds: float) -> Training:
    told = small.section(
        budget={"tokens": steps * small.ROWS * small.CONTEXT}, optimizer={"kind": "adamw", "learning_rate": 0.01}
    )
    plan = kept(scratch) if crew.first else None
    plan = crew.told(shared(plan, crew.size) if plan else small.plan(told, processes=crew.size))
    model = small.model(**DESIGNS[design])
    return small.training(scratch, told=told, model=model, plan=plan, crew=crew, save_seconds=save_seconds)


def main(scratch: Path, processes: int, steps: int, design: str, save_seconds: float = 1e9) -> None:
    with together(processes, device="cpu", command=[sys.executable, *sys.argv]) as crew:
        one = training(scratch, steps, design, crew, save_seconds)
        for report in one.run():
            if isinstance(report, Stepped) and crew.first:
                print(report.step, report.loss_nats, report.gradient_norm, flush=True)
    if crew.first:
        state = {name: value.detach().contiguous() for name, value in one.model.state_dict().items()}
        save_file(state, scratch / "end.safetensors")
        curve.write(scratch / "curve.csv", one.rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, count, steps, design, *seconds = sys.argv[1:]
    try:
        main(Path(folder), int(count), int(steps), design, *map(float, seconds))
    except Refusal as refusal:
        sys.exit(str(refusal))
