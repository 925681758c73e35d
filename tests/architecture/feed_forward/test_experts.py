"""Experts: one token after another in plain loops, balance, and the contract."""

import pytest
import torch

from lmmodel.architecture.feed_forward.experts import Options
from lmmodel.architecture.model import build
from lmmodel.architecture.roles import roles
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from tests.architecture import properties

SIZES = Sizes(width=32, depth=2, heads=4, head_width=8, context=256)
VARIANTS = [
    "",
    ", experts: 6, active: 1, shared: 2, activation: relu_squared, gated: false, normalize: false",
    ", experts: 8, active: 3, shared: 1, shared_gate: true, score: sigmoid, router_scale: 2.5, groups: 4, "
    "active_groups: 2, balance: bias, hidden: 12",
    ", balance: none, expansion: 0.5",
]


def model(options):
    return properties.model(f"{{feed_forward: {{kind: experts{options}}}}}")


@pytest.mark.parametrize("options", VARIANTS)
def test_it_is_sound(options):
    properties.assert_sound(f"{{feed_forward: {{kind: experts{options}}}}}")


def naive(part, x_BTD):
    """Every token by itself, every expert by itself."""
    told, rows = part.told, []
    for x_D in x_BTD.flatten(0, 1):
        logits_E = part.router.weight @ x_D
        scores_E = logits_E.softmax(-1) if told.score == "softmax" else logits_E.sigmoid()
        judged_E = scores_E.detach() + (0 if part.bias_E is None else part.bias_E)
        groups = judged_E.view(told.groups, -1)
        best = groups.sort(descending=True).values[:, :2].sum(-1).argsort(descending=True)[: told.active_groups]
        allowed = [e for e in range(told.experts) if e // groups.size(1) in best.tolist()]
        chosen = sorted(allowed, key=lambda e: -judged_E[e].item())[: told.active]
        share = scores_E[chosen] / (scores_E[chosen].sum() if told.normalize else 1) * told.router_scale
        y_D = sum(share[n] * expert(part, e, x_D) for n, e in enumerate(chosen))
        rows.append(y_D + (part.shared(x_D) if part.shared is not None else 0))
    return torch.stack(rows).view_as(x_BTD)


def expert(part, e, x_D):
    up_F = part.up_EFD[e] @ x_D
    inner_F = part.bend(up_F) if part.gate_EFD is None else part.bend(part.gate_EFD[e] @ x_D) * up_F
    return part.out_EDF[e] @ inner_F


@pytest.mark.parametrize("options", VARIANTS)
def test_it_equals_its_formula_forward_and_backward(options):
    part = model(options).layers[0].feed_forward
    if part.bias_E is not None:
        part.bias_E.copy_(torch.linspace(-0.3, 0.3, 8))
    x_BTD = torch.randn(2, 7, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    span = Span(torch.zeros(2, 7, dtype=torch.int64))
    properties.assert_same(part, lambda x: part(x, span), lambda x: naive(part, x), x_BTD)


def test_it_equals_its_formula_where_all_tokens_choose_the_same():
    part = model(", experts: 4, active: 2").layers[0].feed_forward
    x_BTD = torch.ones(2, 5, 32, dtype=torch.float64)
    span = Span(torch.zeros(2, 5, dtype=torch.int64))
    assert properties.error(part(x_BTD, span), naive(part, x_BTD)) < 1e-12
    assert sorted(span.reports["load"].tolist()) == [0, 0, 10, 10]


def test_no_token_is_dropped_and_load_is_reported():
    made = model("")
    trace = made.trace(properties.tokens(2, 50))
    assert sorted(trace.reports) == [f"layers.{n}.feed_forward.load" for n in (0, 1)]
    assert all(load.sum() == 2 * 50 * 2 for load in trace.reports.values())


def test_the_balance_loss_is_one_a_row_where_even_and_more_where_not():
    part = model(", experts: 4, active: 1, normalize: false, balance_weight: 1").layers[0].feed_forward
    with torch.no_grad():
        part.router.weight.zero_()
        part.router.weight[:, :4] = 50 * torch.eye(4)
    x_BTD = torch.zeros(2, 8, 32, dtype=torch.float64)
    x_BTD[0, torch.arange(8), torch.arange(8) % 4] = 1  # each expert in turn
    x_BTD[1, :, 2] = 1  # always the same
    span = Span(torch.zeros(2, 8, dtype=torch.int64))
    part(x_BTD, span)
    assert span.losses["balance"].tolist() == pytest.approx([1.0, 4.0], abs=1e-6)


def test_a_bias_moves_tokens_to_experts_that_have_few_and_stays_out_of_the_shares():
    made = build(
        properties.declared("{feed_forward: {kind: experts, balance: bias, balance_rate: 0.01, score: sigmoid}}"),
        seed=0,
    )
    properties.redraw(made, seed=5)
    part, tokens_BT = made.layers[0].feed_forward, properties.tokens(8, 100)

    def unevenness():
        reports = made.trace(tokens_BT).reports
        load_E = reports["layers.0.feed_forward.load"].float()
        return reports, (load_E.max() / load_E.mean()).item()

    reports, before = unevenness()
    assert not made.trace(tokens_BT).losses
    for _ in range(60):
        made.adapt(reports)
        reports, after = unevenness()
    assert after < 1.2 < 1.3 < before
    assert "layers.0.feed_forward.bias_E" in made.state_dict()
    x_BTD = torch.randn(1, 4, 32)
    shares = part.bias_E.clone()
    y = part(x_BTD, Span(torch.zeros(1, 4, dtype=torch.int64)))
    part.bias_E.copy_(shares + 100)  # the same for all: nobody is chosen otherwise
    assert torch.equal(part(x_BTD, Span(torch.zeros(1, 4, dtype=torch.int64))), y)


def test_its_stacks_are_matrices_drawn_as_linears_are():
    made = build(properties.declared("{feed_forward: {kind: experts, experts: 64}}"), seed=0)
    found = roles(made)
    part = made.layers[0].feed_forward
    assert all(found[f"layers.0.feed_forward.{name}"] == "matrix" for name in ("up_EFD", "gate_EFD", "out_EDF"))
    assert part.up_EFD.std().item() == pytest.approx(0.02, rel=0.02)
    assert part.out_EDF.std().item() == pytest.approx(0.02 / 2, rel=0.02)  # two layers, so 1 / sqrt(4)
    zero = build(properties.declared("{feed_forward: experts, initial: {outputs: zero}}"), seed=0)
    assert not zero.layers[0].feed_forward.out_EDF.any()


def test_only_active_experts_cost():
    few, many = (
        properties.flops(f"{{feed_forward: {{kind: experts, experts: {experts}}}}}", tokens=64) for experts in (8, 64)
    )
    routers = 2 * 2 * 64 * 32 * (64 - 8)
    assert many - few == routers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 8, "expansion": 1.0}, "takes hidden or expansion, not both"),
        ({"experts": 1, "active": 1}, "one expert needs no router"),
        ({"experts": 6, "groups": 4}, "6 experts, which 4 groups do not divide"),
        ({"groups": 4}, "has 4 groups, all of which are open: say active_groups"),
        ({"groups": 2, "active_groups": 3}, "2 groups, fewer than active_groups 3"),
        ({"experts": 4, "groups": 4, "active_groups": 1}, "chooses 2 of 1 experts"),
        ({"active": 1}, "the share of one is always 1, and the router would not learn: say normalize: false"),
        ({"shared_gate": True}, "no shared experts for shared_gate"),
        ({"balance": "none", "balance_weight": 0.1}, "balance_weight has no effect"),
        ({"balance_rate": 0.1}, "balances by 'auxiliary', so balance_rate has no effect"),
    ],
)
def test_what_does_not_fit_or_has_no_effect_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options).complete(SIZES)
