"""The difference of two softmaxes."""

import math

import pytest
import torch

from lmmodel.architecture.attention.differential import Options
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from tests.architecture import properties


@pytest.mark.parametrize("options", ["", ", kv_heads: 2, window: 70", ", bias: true}, position: {kind: alibi"])
def test_it_is_sound(options):
    properties.assert_sound(f"{{attention: {{kind: differential{options}}}}}")


def naive(mixer, x_BTD, layer):
    """Head after head, token after token; no position."""
    q, k, v = (part(x_BTD).unflatten(-1, (-1, 8)) for part in (mixer.query, mixer.key, mixer.value))
    first = 0.8 - 0.6 * math.exp(-0.3 * layer)
    more, less = ((mixer.share_query_2K[n] @ mixer.share_key_2K[n]).exp() for n in (0, 1))
    outputs = []
    for t in range(x_BTD.size(1)):
        heads = []
        for h in range(4):
            group = h * k.size(2) // 4
            shares = []
            for half in (slice(0, 4), slice(4, 8)):
                scores = (k[:, : t + 1, group, half] @ q[:, t, h, half, None])[..., 0] / 2
                shares.append(scores.softmax(-1))
            share = shares[0] - (more - less + first) * shares[1]
            y = (share[..., None] * v[:, : t + 1, group]).sum(1)
            y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.out_norm.weight
            heads.append(y * (1 - first))
        outputs.append(torch.cat(heads, -1))
    return mixer.out(torch.stack(outputs, 1))


@pytest.mark.parametrize("layer", [0, 1])
def test_it_equals_its_formula_forward_and_backward(layer):
    design = "{position: none, attention: {kind: differential, kv_heads: 2}}"
    mixer = properties.model(design).layers[layer].attention
    x_BTD = torch.randn(2, 9, 32, dtype=torch.float64)
    span = Span(torch.zeros(2, 9, dtype=torch.int64))
    properties.assert_same(mixer, lambda x: mixer(x, span), lambda x: naive(mixer, x, layer), x_BTD)


def test_heads_that_have_no_halves_are_refused():
    with pytest.raises(ValueError, match="head width 7 is not an even number"):
        Options().complete(Sizes(width=28, depth=1, heads=4, head_width=7, context=64))
