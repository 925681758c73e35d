"""The yardstick is the same model: same weights, same logits, same gradients."""

from __future__ import annotations

import pytest
import torch

from benchmarks import composition
from benchmarks.written import as_written

SMALL = {"width": 64, "depth": 2, "heads": 4, "context": 256}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("design", composition.WRITTEN)
def test_the_composed_and_the_written_model_are_one(design, dtype):
    composed, written = composition.pair(design, dtype, **SMALL)
    tokens_BT = torch.randint(composition.VOCABULARY, (2, 256), generator=torch.Generator().manual_seed(0))
    logits = [side(tokens_BT) for side in (composed, written)]
    for each in logits:
        each.float().square().mean().backward()
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    assert (logits[0] - logits[1]).abs().max() <= tolerance * logits[0].abs().max()
    theirs = dict(written.named_parameters())
    gradients = as_written({name: parameter.grad for name, parameter in composed.named_parameters()})
    assert gradients.keys() == theirs.keys()
    for name, gradient in gradients.items():
        # What a key's bias adds to all scores of a query, softmax does not see: its gradient is rounding alone.
        largest = gradients[name.replace("key.bias", "query.bias")].abs().max()
        assert (gradient - theirs[name].grad).abs().max() <= 5 * tolerance * largest, name
