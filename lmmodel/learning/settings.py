"""What the sections `pretrain`, `finetune` and `launch` can be told."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from lmmodel.learning.decay import Memory
from lmmodel.learning.families import METHOD, OPTIMIZER, SCHEDULE
from lmmodel.params.kinds import Chosen, choice
from lmmodel.params.settings import Count, Fraction, Positive, Real, Settings, exactly_one

Precision = Literal["auto", "float32", "autocast", "bfloat16", "float8"]
"""What a step computes in. autocast: float32, in which products are of bfloat16. bfloat16 keeps the weights that are
updated in float32. float8 is bfloat16 in which the layers' linear maps multiply in 8 bits: for GPUs that do."""


Share = Annotated[Real, Field(gt=0, lt=1)]


class Budget(Settings):
    """How much training: exactly one of these. `flops` counts forward and backward; an epoch sees every token once."""

    tokens: Count | None = None
    epochs: Positive | None = None
    flops: Positive | None = None
    tokens_per_parameter: Positive | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, "tokens", "epochs", "flops", "tokens_per_parameter")
        return self


class Validation(Settings):
    """How often, evenly spaced and the last time at the end, and on how many tokens of the validation split at most."""

    times: Count = 10
    tokens: Count = 131_072


class Ema(Settings):
    """Exponential moving average: `decay` is what of it is kept from one step to the next, less in the first steps."""

    decay: Memory = 0.999


class EarlyStopping(Settings):
    """The end comes when `patience` validations in a row were worse than one before; the weights of that are kept."""

    patience: Count = 3


class BatchWarmup(Settings):
    """Batches of `first_tokens` at first, doubled up to `batch_tokens` over `fraction` of the budget."""

    first_tokens: Count
    fraction: Fraction = 0.25


class Keep(Settings):
    """Which saved states of a training stay in its scratch until its result is recorded.

    last: so many of the newest. every: those after so many steps, and its multiples; none: only the newest. best: that
    of the best validation so far.
    """

    last: Count = 2
    every: Count | None = None
    best: bool = False


LAST_TWO = Keep()
"""The rule unless another is told."""


class _Training(Settings):
    """What both trainings can be told. The norm of the gradients is held to `clip`; none: they stay as they are.

    batch_warmup: smaller batches, and so more updates, at first; none: all are of one size. ema: weights that are an
    average of those on the way are validated and kept. early_stopping: none trains to the end. dropout: the share of
    the numbers that is left out at random of what each part of a layer adds, for text that is seen many times.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    budget: Budget
    batch_tokens: Count
    batch_warmup: BatchWarmup | None = None
    clip: Positive | None = 1.0
    precision: Precision = "auto"
    ema: Ema | None = None
    early_stopping: EarlyStopping | None = None
    dropout: Share | None = None

    def sequences(self, context: int) -> int:
        """Rows of a batch, of `context` tokens each; ValueError where `batch_tokens` is not a whole number of them."""
        rows, rest = divmod(self.batch_tokens, context)
        if rest:
            whole = f"{rows * context:,} or {(rows + 1) * context:,} is" if rows else f"{context:,} is the least"
            raise ValueError(
                f"{self.batch_tokens:,} is not a whole number of sequences of model.context {context:,} tokens: {whole}"
            )
        if self.batch_warmup is not None:
            _doubles(self.batch_warmup.first_tokens, context, rows)
        return rows

    @field_validator("optimizer", check_fields=False)
    @classmethod
    def _averages_once(cls, optimizer: Chosen, told: ValidationInfo) -> Chosen:
        if told.data.get("ema") is not None and OPTIMIZER.declares(optimizer.kind, "averages", optimizer.file):
            raise ValueError(f"'{optimizer.kind}' averages weights itself: leave ema out, or take another optimizer")
        return optimizer

    @field_validator("schedule", check_fields=False)
    @classmethod
    def _goes_with_the_optimizer(cls, schedule: Chosen, told: ValidationInfo) -> Chosen:
        optimizer: Chosen | None = told.data.get("optimizer")  # None where it is itself refused
        if optimizer is not None:
            taken = OPTIMIZER.declares(optimizer.kind, "schedules", optimizer.file, default=(schedule.kind,))
            if schedule.kind not in taken:
                raise ValueError(f"'{schedule.kind}' does not go with {optimizer.kind}, which takes {', '.join(taken)}")
        return schedule


def _doubles(first_tokens: int, context: int, rows: int) -> None:
    """ValueError where batches of whole sequences cannot double from `first_tokens` to `rows` of them."""
    fits = [rows >> n for n in range(rows.bit_length()) if rows % (1 << n) == 0]
    if first_tokens not in [fit * context for fit in fits]:
        choices = ", ".join(f"{fit * context:,}" for fit in reversed(fits))
        raise ValueError(f"doubles from batch_warmup.first_tokens {first_tokens:,}, which can be {choices}")


class Pretrain(_Training):
    """Learning a language from documents.

    documents: `joined` documents in a sequence see one another, `separate` ones do not.
    """

    budget: Budget = Budget(tokens=2_500_000)
    batch_tokens: Count = 8192
    documents: Literal["joined", "separate"] = "joined"
    optimizer: choice(OPTIMIZER) = "muon"  # type: ignore[valid-type]
    schedule: choice(SCHEDULE) = "warmup_stable_decay"  # type: ignore[valid-type]
    validation: Validation = Field(default=Validation(), alias="validate")  # BaseModel.validate is taken


class Finetune(_Training):
    """Learning to answer, from dialogues; `method` says which weights do."""

    method: choice(METHOD) = "full"  # type: ignore[valid-type]
    budget: Budget = Budget(epochs=2)
    batch_tokens: Count = 4096
    optimizer: choice(OPTIMIZER) = {"kind": "adamw", "learning_rate": 1e-3, "weight_decay": 0.0}  # type: ignore[valid-type]
    schedule: choice(SCHEDULE) = {"kind": "linear", "warmup_fraction": 0.05}  # type: ignore[valid-type]
    validation: Validation = Field(default=Validation(times=5, tokens=65_536), alias="validate")


class Launch(Settings):
    """How it runs, never what it computes.

    processes: train together, one a GPU; each takes its rows of a batch. torchrun's environment overrides it.
    micro_batch_sequences: computed at once, by each; a batch is summed from as many as it takes.
    compile: torch.compile; auto where the run is long enough to earn it back. shard: each process holds a part of
    the weights and of what the optimizer remembers (FSDP2), for models that do not fit; not compiled.
    activation_checkpointing: layers are computed again on the way back, which takes a third longer and a fraction of
    the memory. keep: states that a training saves on its way. workers: processes that read, clean and tokenize.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    processes: Count = 1
    micro_batch_sequences: Literal["auto"] | Count = "auto"
    compile: Literal["auto"] | bool = "auto"
    shard: bool = False
    activation_checkpointing: bool = False
    keep: Keep = LAST_TWO
    workers: Literal["auto"] | Count = "auto"

    @field_validator("shard")
    @classmethod
    def _not_compiled(cls, shard: bool, told: ValidationInfo) -> bool:
        if shard and told.data.get("compile") is True:
            raise ValueError(
                "does not go with launch.compile: true: layers are put together from all processes between one and the "
                "next, where a compiled step cannot be cut; leave compile on auto, or take shard: false"
            )
        return shard
