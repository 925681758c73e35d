"""Where a block puts its norms, and that each is sound with any part left out."""

import pytest
import torch

from lmmodel.architecture.families import BLOCK
from lmmodel.architecture.model import build
from tests.architecture import properties


@pytest.mark.parametrize("kind", BLOCK.names())
def test_a_block_is_sound(kind):
    properties.assert_sound(f"{{block: {kind}}}")


@pytest.mark.parametrize("kind", BLOCK.names())
def test_a_part_that_is_left_out_takes_its_norms_along(kind):
    layers = "{mix: {feed_forward: none}, think: {attention: none}}"
    design = f"{{block: {kind}, layers: {layers}, pattern: [mix, think]}}"
    properties.assert_sound(design)
    both = sum(p.numel() for p in properties.model(f"{{block: {kind}}}", depth=1).parameters())
    apart = sum(p.numel() for p in properties.model(design).parameters())
    shared = 32 if kind == "parallel" else 0  # one norm served both parts
    assert apart == both + shared


class Halves(torch.nn.Module):
    """A part that gives a multiple of what it gets."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def forward(self, x_BTD, span):
        return self.times * x_BTD


class Steps(torch.nn.Module):
    """A norm that one can follow by hand: it adds one."""

    def forward(self, x):
        return x + 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # x = 1, attention doubles, feed-forward triples, a norm adds one
        ("prenorm", (1 + 2 * 2) + 3 * (5 + 1)),
        ("postnorm", (1 + 2 + 1) * 4 + 1),
        ("reordered", (1 + (2 + 1)) + (3 * 4 + 1)),
        ("sandwich", (1 + (2 * 2 + 1)) + (3 * (6 + 1) + 1)),
        ("parallel", 1 + 2 * 2 + 3 * 2),
    ],
)
def test_norms_stand_where_the_formula_has_them(kind, expected):
    block = BLOCK.load(kind)(
        BLOCK.options(kind)(), None, attention=Halves(2), feed_forward=Halves(3), norm=lambda sizes: Steps()
    )
    assert block(torch.ones(1, 1, 1), None).item() == expected


def test_only_postnorm_ends_normed():
    assert [kind for kind in BLOCK.names() if BLOCK.load(kind).ends_normed] == ["postnorm"]
    names = dict(properties.model("{block: postnorm}").named_modules())
    assert isinstance(names["norm"], torch.nn.Identity)


WITH_SCALARS = [kind for kind in BLOCK.names() if "scalars" in BLOCK.options(kind).model_fields]


@pytest.mark.parametrize("kind", WITH_SCALARS)
@pytest.mark.parametrize("scalars", ["stream", "stream_and_first"])
def test_a_block_with_scalars_is_sound(kind, scalars):
    properties.assert_sound(f"{{block: {{kind: {kind}, scalars: {scalars}}}}}")


@pytest.mark.parametrize("kind", WITH_SCALARS)
def test_scalars_change_nothing_at_first_and_then_mix_in_what_entered_the_first_layer(kind):
    plain = build(properties.declared(f"{{block: {kind}}}"), seed=1)
    scaled = build(properties.declared(f"{{block: {{kind: {kind}, scalars: stream_and_first}}}}"), seed=1)
    tokens_BT = properties.tokens()
    assert torch.equal(plain(tokens_BT), scaled(tokens_BT))
    entered = []
    scaled.layers[1].attention.register_forward_pre_hook(lambda module, given: entered.append(given[0]))
    with torch.no_grad():
        scaled.layers[1].scalars.copy_(torch.tensor([0.0, 2.0]))
        scaled(tokens_BT)
        x_BTD = 2 * scaled.embedding(tokens_BT)
    norm = {"parallel": "norm", "reordered": None}.get(kind, "attention_norm")
    expected = x_BTD if norm is None else getattr(scaled.layers[1], norm)(x_BTD)
    assert torch.allclose(entered[0], expected, atol=1e-6)
