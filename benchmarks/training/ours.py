"""This project's engine on the common shape: through its own training loop, and the matrix products of its step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from benchmarks.training.shape import CLIP, LEARNING_RATE, WEIGHT_DECAY, Shape
from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.model import build
from lmmodel.architecture.resolve import resolve
from lmmodel.learning import machine
from lmmodel.learning.loss import Batch, Objective
from lmmodel.learning.plan import Work, decide
from lmmodel.learning.reports import Stepped
from lmmodel.learning.settings import Launch, Pretrain
from lmmodel.learning.training import Training
from lmmodel.learning.weights import DTYPES
from lmmodel.params.document import Document
from lmmodel.text.batches import TokenBatch

STEPS = 10_000  # more than any benchmark makes
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm")


@dataclass(frozen=True)
class _Stream:
    """The common tokens, as the training loop asks for them."""

    shape: Shape

    @property
    def tokens_per_epoch(self) -> int:
        return STEPS * self.shape.batch_tokens

    def batch(self, step: int) -> TokenBatch:
        rows = self.shape.batch(step)
        return TokenBatch(rows[:, :-1].copy(), rows[:, 1:].copy(), None, None)

    def validation(self, tokens: int) -> Iterator[TokenBatch]:
        yield self.batch(STEPS + 1)


def declaration(shape: Shape) -> Declaration:
    """The shape as this project declares it: Llama's parts where gated, GPT-2's where plain."""
    feed_forward = {"kind": "gated" if shape.gated else "plain", "hidden": shape.hidden}
    attention = {"kind": "multi_head", "kv_heads": shape.heads}
    design = {"like": "llama3" if shape.gated else "gpt2", "feed_forward": feed_forward, "attention": attention}
    sizes = {"width": shape.width, "depth": shape.depth, "heads": shape.heads, "context": shape.context}
    return resolve(Document("benchmark", {"model": {**sizes, "design": design}}, {}), vocab_size=shape.vocab_size)


def training(shape: Shape, scratch: Path, *, precision: str) -> Iterator[float]:
    """One update a turn, through `Training` itself, compiled."""
    optimizer = {"kind": "adamw", "learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY}
    section = Pretrain.model_validate(
        {
            "budget": {"tokens": STEPS * shape.batch_tokens},
            "batch_tokens": shape.batch_tokens,
            "optimizer": optimizer,
            "clip": CLIP,
            "precision": precision,
            "validate": {"times": 1, "tokens": shape.batch_tokens},
        }
    )
    declared, stream = declaration(shape), _Stream(shape)
    launch = Launch.model_validate({"micro_batch_sequences": shape.micro_rows, "compile": True})
    plan = decide(section, launch, Work.of(declared, tokens_per_epoch=stream.tokens_per_epoch))
    trained = Training(
        build(declared, seed=1),
        stream,
        plan=plan,
        section=section,
        seed=1,
        byte_lengths_V=np.ones(shape.vocab_size, dtype=np.int64),
        scratch=scratch,
        save_seconds=float("inf"),
    )
    for report in trained.run():
        if isinstance(report, Stepped):
            yield report.loss_nats


class _Recorder(TorchDispatchMode):
    """Keeps every matrix product that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in PRODUCTS:
            self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def products(shape: Shape, *, precision: str) -> list[Callable[[], Any]]:
    """The matrix products of a micro-batch, forward and backward, on memory of their own, ready to be repeated.

    What they free is kept for them as it is for a training.
    """
    machine.keep_freed_memory()
    device = machine.device("auto")
    model = build(declaration(shape), seed=1).to(device)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(DTYPES[precision])
    rows = torch.from_numpy(shape.batch(0)[: shape.micro_rows]).to(device)
    with _Recorder() as recorder:
        Objective(model)(Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())).total.backward()
    return [_again(*call) for call in recorder.calls]


def _again(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
    own = tree_map(lambda value: value.detach() if isinstance(value, torch.Tensor) else value, args)
    return lambda: func(*own, **kwargs)
