"""What a training will do, decided once at step 0, written down, and read back by one that goes on.

Whatever says `auto` is settled here, from what is to be done and what the machine can, never from a timing: the same
parameters on the same kind of machine always give the same plan.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmmodel import folder
from lmmodel.learning import machine
from lmmodel.learning.portions import Portions
from lmmodel.learning.settings import Budget, Finetune, Launch, Pretrain
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from lmmodel.architecture.declaration import Declaration

_MICRO_TOKENS = {"cpu": 2048, "cuda": 65_536, "mps": 16_384}
# What an uncompiled step does in a second, and what of that time compiling saves; on a processor for each core. What
# autocast and float8 do on a GPU was not measured.
_FLOPS_PER_SECOND = {
    ("cpu", "float32"): 4e10,
    ("cpu", "autocast"): 8e10,
    ("cpu", "bfloat16"): 1e11,
    ("cuda", "autocast"): 2e14,
    ("cuda", "bfloat16"): 2e14,
    ("cuda", "float8"): 2e14,
}
_COMPILING_SAVES, _COMPILING_SECONDS = 0.3, 30.0


@dataclass(frozen=True)
class Work:
    """What there is to do: a model of so many parameters and training FLOPs a token, rows of `context` tokens, data."""

    parameters: int
    flops_per_token: float
    context: int
    tokens_per_epoch: int

    @classmethod
    def of(cls, declaration: Declaration, *, tokens_per_epoch: int) -> Work:
        """What training the declared design takes, measured on a model of it that has no weights."""
        from lmmodel.architecture import count

        counts = count.measure(declaration)
        return cls(
            parameters=counts.parameters,
            flops_per_token=counts.training_flops_per_token,
            context=declaration.context,
            tokens_per_epoch=tokens_per_epoch,
        )


@dataclass(frozen=True)
class Plan:
    """`steps` of `sequences` rows of `context` tokens, `micro_sequences` of them at once; fewer rows where `cuts` say.

    validations: the steps after which the model is put to text that it never learns from. recomputed: layers are
    computed again on the way back.
    """

    steps: int
    sequences: int
    micro_sequences: int
    context: int
    validations: tuple[int, ...]
    device: str
    threads: int
    precision: str
    compiled: bool
    recomputed: bool = False
    cuts: tuple[tuple[int, int], ...] = ()
    processes: int = 1
    sharded: bool = False

    @property
    def portions(self) -> Portions:
        """Which rows of which batch each step is made from."""
        cut = sum(count * (parts - 1) for count, parts in self.cuts)
        return Portions(self.steps - cut, self.sequences, self.cuts)

    @property
    def batch_tokens(self) -> int:
        """Between two updates, where batches are whole."""
        return self.sequences * self.context

    @property
    def tokens(self) -> int:
        """In all."""
        return self.tokens_before(self.steps)

    def tokens_before(self, step: int) -> int:
        """Of the first `step` steps."""
        return self.portions.rows_before(step) * self.context

    def fraction(self, step: int) -> float:
        """Of the budget, at the middle of the update `step` (from 0)."""
        return (self.tokens_before(step) + self.tokens_before(step + 1)) / 2 / self.tokens

    def record(self) -> dict[str, Any]:
        """The part of the platform that was decided here, for the checkpoint."""
        kept = ("threads", "precision", "compiled", "micro_sequences")
        told = {name: getattr(self, name) for name in kept} | machine.record(self.device)
        told |= {"activation_checkpointing": True} if self.recomputed else {}
        told |= {"sharded": True} if self.sharded else {}
        return told | ({"processes": self.processes} if self.processes > 1 else {})


def decide(section: Pretrain | Finetune, launch: Launch, work: Work, *, processes: int = 1) -> Plan:
    """The plan of a training in so many processes; a Refusal where this machine has not what `launch` asks for."""
    device, precision = _machine(section, launch)
    portions = _portions(section, work)
    rows = portions.rows
    sharded = _sharded(launch, processes, portions, precision)
    own = -(-rows // processes)
    plan = Plan(
        steps=portions.steps,
        sequences=rows,
        micro_sequences=_micro(launch.micro_batch_sequences, own, _MICRO_TOKENS[device] // work.context),
        context=work.context,
        validations=tuple(portions.step(n) for n in evenly(portions.batches, section.validation.times)),
        device=device,
        threads=_threads(processes),
        precision=precision,
        compiled=False,
        recomputed=launch.activation_checkpointing,
        cuts=portions.cuts,
        processes=processes,
        sharded=sharded,
    )
    return replace(plan, compiled=not sharded and _compiled(launch.compile, plan, work))


def foresee(section: Pretrain | Finetune, launch: Launch, *, context: int) -> None:
    """A Refusal where this machine, or so many processes, could not train as `section` and `launch` say.

    Without the data, so without the smaller batches of a batch_warmup.
    """
    _, precision = _machine(section, launch)
    _sharded(launch, launch.processes, Portions(1, section.sequences(context)), precision)


def _machine(section: Pretrain | Finetune, launch: Launch) -> tuple[str, str]:
    """Device and precision, settled."""
    device = machine.device(launch.device)
    return device, machine.precision(section.precision, device, key=f"{type(section).__name__.lower()}.precision")


def kept(scratch: Path) -> Plan | None:
    """The plan that was written into `scratch` when this training began."""
    path = scratch / "plan.json"
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    cuts = tuple((count, parts) for count, parts in told.get("cuts", ()))
    return Plan(**{**told, "validations": tuple(told["validations"]), "cuts": cuts})


def shared(plan: Plan, launch: Launch, *, processes: int, scratch: Path) -> Plan:
    """`plan`, begun by any number of processes, gone on with by so many; a Refusal where its device is not here."""
    if plan.device not in (here := machine.devices()):
        raise Refusal(
            f"this training began on {plan.device}, and this machine has {', '.join(here)}: go on with it where it "
            f"began, or remove {scratch} to begin anew"
        )
    sharded = _sharded(launch, processes, plan.portions, plan.precision)
    plan = plan if plan.sharded == sharded else replace(plan, sharded=sharded, compiled=plan.compiled and not sharded)
    return plan if plan.processes == processes else replace(plan, processes=processes, threads=_threads(processes))


def _sharded(launch: Launch, processes: int, portions: Portions, precision: str) -> bool:
    """Whether the processes hold the model in pieces; a Refusal where they cannot share its batches."""
    rows = portions.rows // max((parts for _, parts in portions.cuts), default=1)
    if processes > rows:
        raise Refusal(
            f"{processes} processes share a batch of {rows} sequences, and some would have none: see batch_tokens"
        )
    if launch.shard and rows % processes:
        raise Refusal(
            f"{processes} processes share a batch of {rows} sequences, and with launch.shard each takes as many: see "
            "batch_tokens"
        )
    if launch.shard and processes > 1 and precision == "autocast":
        raise Refusal(
            "launch.shard does not go with precision 'autocast', for which every process would keep narrow copies of "
            "all layers' weights until the way back: take bfloat16"
        )
    return launch.shard and processes > 1


def keep(plan: Plan, scratch: Path) -> None:
    """Write `plan` down, whole or not at all."""
    folder.write(scratch / "plan.json", folder.canonical(asdict(plan)))


def evenly(steps: int, times: int) -> tuple[int, ...]:
    """`times` numbers of steps, evenly spaced, the last of them `steps`; fewer where there are fewer steps."""
    return tuple(sorted({round(steps * (n + 1) / times) for n in range(times)} - {0}))


def tokens(budget: Budget, work: Work) -> float:
    """What `budget` comes to in tokens."""
    if budget.tokens is not None:
        return budget.tokens
    if budget.epochs is not None:
        return budget.epochs * work.tokens_per_epoch
    if budget.flops is not None:
        return budget.flops / work.flops_per_token
    assert budget.tokens_per_parameter is not None
    return budget.tokens_per_parameter * work.parameters


def _portions(section: Pretrain | Finetune, work: Work) -> Portions:
    """As many whole batches as the budget pays for, and at least one; the first of them cut, where that is wanted."""
    batches = max(1, int(tokens(section.budget, work) / section.batch_tokens))
    rows, warmup = section.sequences(work.context), section.batch_warmup
    if warmup is None:
        return Portions(batches, rows)
    return Portions.growing(batches, rows, first=warmup.first_tokens // work.context, fraction=warmup.fraction)


def _micro(wanted: int | str, sequences: int, target: int) -> int:
    """Rows at once: as told, or at most `target` in parts as equal as can be, of one size where that costs little."""
    most = min(sequences, max(1, target) if wanted == "auto" else int(wanted))
    if wanted == "auto":
        equal = [size for size in range(most, most // 2, -1) if sequences % size == 0]
        return equal[0] if equal else -(-sequences // -(-sequences // most))
    return most


def _compiled(wanted: bool | str, plan: Plan, work: Work) -> bool:
    """Whether torch.compile pays for itself, where the choice is left open: what it saves against what it takes."""
    if wanted != "auto":
        return bool(wanted)
    rate = _FLOPS_PER_SECOND.get((plan.device, plan.precision))
    if rate is None or (plan.device == "cpu" and not machine.compiler()):
        return False
    flops = plan.tokens * work.flops_per_token
    seconds = flops / rate / plan.processes / (plan.threads if plan.device == "cpu" else 1)
    return seconds * _COMPILING_SAVES > _COMPILING_SECONDS


def _threads(processes: int) -> int:
    """For each of the processes, unless the environment says how many."""
    import torch

    return int(os.environ.get("OMP_NUM_THREADS") or max(1, torch.get_num_threads() // processes))
