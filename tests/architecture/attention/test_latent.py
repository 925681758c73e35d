"""Latent attention: compressed memory, two ways to read it."""

import pytest
import torch

from lmmodel.architecture.attention.latent import Options
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from tests.architecture import properties

VARIANTS = [
    "attention: {kind: latent}",
    "attention: {kind: latent, kv_rank: 6, query_rank: 10, rotary_width: 2}",
    "attention: {kind: latent, query_rank_ratio: 1.5, scale: 0.3}, position: alibi",
    "attention: latent, position: none, norm: layer",
]


@pytest.mark.parametrize("design", VARIANTS)
def test_it_is_sound(design):
    properties.assert_sound(f"{{{design}}}")


def naive(mixer, x_BTD):
    """Head after head, token after token; without a position."""
    queries = mixer.query(mixer.query_norm(mixer.query_compress(x_BTD))).unflatten(-1, (4, -1))
    latent = mixer.compress_norm(mixer.compress(x_BTD))
    keys, values = (part(latent).unflatten(-1, (4, -1)) for part in (mixer.key, mixer.value))
    shared = mixer.rotary_key(x_BTD)
    outputs = []
    for t in range(x_BTD.size(1)):
        heads = []
        for h in range(4):
            own = (keys[:, : t + 1, h] * queries[:, t, None, h, :8]).sum(-1)
            scores = (own + (shared[:, : t + 1] * queries[:, t, None, h, 8:]).sum(-1)) / (8 + 4) ** 0.5
            heads.append((scores.softmax(-1)[..., None] * values[:, : t + 1, h]).sum(1))
        outputs.append(torch.cat(heads, -1))
    return mixer.out(torch.stack(outputs, 1))


@pytest.mark.parametrize("folds", [True, False])
def test_both_ways_equal_the_formula_forward_and_backward(folds, monkeypatch):
    mixer = properties.model("{attention: {kind: latent, query_rank: 10}, position: none}").layers[0].attention
    monkeypatch.setattr(mixer, "_folding_pays", lambda T, S: folds)
    x_BTD = torch.randn(2, 9, 32, dtype=torch.float64)
    span = Span(torch.zeros(2, 9, dtype=torch.int64))
    properties.assert_same(mixer, lambda x: mixer(x, span), lambda x: naive(mixer, x), x_BTD)


def test_it_folds_where_that_takes_fewer_operations():
    made = properties.model("{attention: latent}", width=64, context=512)
    pays = made.layers[0].attention._folding_pays
    assert not pays(1, 1)
    assert pays(1, 200)
    assert not pays(200, 200)


def test_it_remembers_the_narrow_vectors_alone():
    made = properties.model("{attention: {kind: latent, kv_rank: 12, rotary_width: 4}}", depth=3)
    state = made.state(2, 64)
    made(properties.tokens(2, 64), state=state)
    assert state.bytes() == 3 * 2 * 64 * (12 + 4) * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kv_rank": 4, "kv_rank_ratio": 2.0}, "takes kv_rank or kv_rank_ratio, not both"),
        ({"kv_rank_ratio": 0.3}, "kv_rank_ratio 0.3 times head width 12"),
        ({"rotary_width": 5}, "rotary_width 5 is not an even number"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options).complete(Sizes(width=48, depth=1, heads=4, head_width=12, context=64))
