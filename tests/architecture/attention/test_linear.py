"""Linear attention: step by step in plain loops, and the contract."""

import pytest
import torch

from tests.architecture import properties


@pytest.mark.parametrize("feature", ["elu", "relu", "softmax"])
def test_it_is_sound(feature):
    properties.assert_sound(f"{{attention: {{kind: linear, feature: {feature}}}}}")


def naive(mixer, x_BTD, begins):
    """One token after another: a matrix and a sum for each head."""
    q, k, v = (part(x_BTD).unflatten(-1, (-1, mixer.head_width)) for part in (mixer.query, mixer.key, mixer.value))
    q, k = mixer.feature(q), mixer.feature(k)
    outputs = []
    for t in range(x_BTD.size(1)):
        if t in begins:
            memory, weight = 0, 0
        memory = memory + k[:, t, :, :, None] * v[:, t, :, None, :]
        weight = weight + k[:, t]
        read = (q[:, t, :, :, None] * memory).sum(-2)
        outputs.append(read / ((q[:, t] * weight).sum(-1, keepdim=True) + 1e-6))
    return mixer.out(torch.stack(outputs, 1).flatten(2))


@pytest.mark.parametrize("feature", ["elu", "relu", "softmax"])
@pytest.mark.parametrize("length", [1, 5, 64, 150])
def test_it_equals_its_recurrence_forward_and_backward(feature, length):
    properties.assert_its_recurrence(f"{{kind: linear, feature: {feature}, bias: true}}", naive, length)


def test_its_cost_grows_linearly_with_context():
    properties.assert_linear_in_context("linear")
    quadratic = "{attention: multi_head, position: alibi}"
    assert properties.flops(quadratic, tokens=4096) > 12 * properties.flops(quadratic, tokens=512)


def test_what_it_remembers_does_not_grow():
    made = properties.model("{attention: linear}")
    state, tokens_BT = made.state(2, 200), properties.tokens()
    made(tokens_BT[:, :10], state=state)
    size = state.bytes()
    made(tokens_BT[:, 10:], state=state)
    assert state.bytes() == size
