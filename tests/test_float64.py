"""What is computed on a device does without float64, which a Mac's GPU does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lmmodel.inference.generation import generate
from lmmodel.inference.likelihood import Passage, score
from lmmodel.learning.blame import tensors
from lmmodel.learning.loss import Objective
from lmmodel.learning.parts import on_device
from lmmodel.learning.spike import traced
from tests.learning import small

EXPERTS = {"kind": "experts", "experts": 4, "active": 2, "balance": "bias"}


class Narrow(torch.Tensor):
    """As on such a device: what is made of it lies there too, and is refused in float64, until it is brought back."""

    @classmethod
    def __torch_function__(
        cls,
        function: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = super().__torch_function__(function, types, args, kwargs or {})
        if function is torch.Tensor.cpu:
            return result.as_subclass(torch.Tensor)
        for tensor in tensors(result):
            if isinstance(tensor, Narrow) and tensor.dtype == torch.float64:
                raise RuntimeError(f"{function.__name__}: this device has no float64")
        return result


def there(**design: Any) -> nn.Module:
    """A model whose every activation is on such a device."""
    model = small.model(**design)
    model.embedding.register_forward_hook(lambda module, given, gave: gave.as_subclass(Narrow))
    return model


def test_a_device_without_float64_says_so() -> None:
    on_it = torch.ones(2).as_subclass(Narrow)
    assert float(on_it.cpu().double().sum()) == 2.0
    with pytest.raises(RuntimeError, match="double: this device has no float64"):
        on_it.double()
    with pytest.raises(RuntimeError, match="no float64"):
        on_it * 2 + torch.ones(2, dtype=torch.float64)


def test_texts_are_scored_and_continued() -> None:
    passages = [Passage([1, 2, 3, 4], 1), Passage([5, 6], 1)]
    assert [found.nats for found in score(there(), passages)] == [
        found.nats for found in score(small.model(), passages)
    ]
    for temperature in (0.0, 0.7):
        wanted, found = (
            generate(model, [[1, 2], [3]], tokens=4, temperature=temperature) for model in (small.model(), there())
        )
        assert found == wanted


def test_it_trains_with_experts_that_a_bias_balances(tmp_path: Path) -> None:
    trainings = [
        small.training(tmp_path / name, model=made(feed_forward=EXPERTS))
        for name, made in (("here", small.model), ("there", there))
    ]
    for training in trainings:
        for _ in training.run():
            pass
    here, away = (dict(training.model.named_buffers()) for training in trainings)
    assert any(buffer.abs().max() > 0 for name, buffer in here.items() if name.endswith("bias_E"))
    assert all(torch.equal(buffer, away[name]) for name, buffer in here.items())


def test_a_jump_of_the_loss_is_traced() -> None:
    model = there()
    batches = [[on_device(small.Text().batch(number), "cpu")] for number in (0, 1)]
    assert traced(Objective(model), model, *batches, usual_nats=3.0).row_nats > 0
