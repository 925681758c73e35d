"""Many feed-forward parts, of which a router gives each token a few: more parameters at the same cost a token.

Shazeer and others, 2017, "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer"; Fedus and
others, 2021, "Switch Transformers" (the auxiliary loss); Dai and others, 2024, "DeepSeekMoE" (shared experts); Wang and
others, 2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts" (the bias); DeepSeek-AI, 2024,
"DeepSeek-V3 Technical Report" (sigmoid scores, groups). No token is dropped, and none waits for another.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmmodel.architecture.activation import ACTIVATIONS
from lmmodel.architecture.grouped import grouped_product
from lmmodel.architecture.inner import expanded
from lmmodel.architecture.narrowing import as_they_come
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.span import Span
from lmmodel.params.settings import Count, Natural, Positive, Settings


class Options(Settings):
    """Each token goes to the `active` of `experts` with the highest scores, and to all `shared` ones.

    hidden, expansion: the inner width of one expert, as a number or times the width (1 where neither is given). gated:
    two products to bend, as in the kind gated. shared_gate: a score of its own for the shared ones. score: what makes
    scores of the router's numbers. normalize: those of the chosen sum to one; router_scale then stretches them.
    groups: only experts in the active_groups best of so many groups are chosen from, each judged by its two best.
    balance: by a loss, balance_weight times how far loads and scores lean together (1 where they do not); by a bias on
    the choice alone, moved by balance_rate once a step, beside which the loss is taken where a weight is given; or not.
    """

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("hidden", "expansion"),)

    experts: Count = 8
    active: Count = 2
    shared: Natural = 0
    hidden: Count | None = None
    expansion: Positive | None = None
    activation: Literal["relu", "relu_squared", "gelu", "gelu_tanh", "silu"] = "silu"
    gated: bool = True
    shared_gate: bool = False
    score: Literal["softmax", "sigmoid"] = "softmax"
    normalize: bool = True
    router_scale: Positive = 1.0
    groups: Count = 1
    active_groups: Count | None = None
    balance: Literal["auxiliary", "bias", "none"] = "auxiliary"
    balance_weight: Positive | None = None
    balance_rate: Positive | None = None

    def complete(self, sizes: Sizes) -> Options:
        """With numbers for what was left open; ValueError where they do not fit, or say what has no effect."""
        hidden = self.hidden or expanded(sizes.width, self.expansion or 1)
        groups = self.active_groups or self.groups
        self._check(groups)
        weight = 0.01 if self.balance == "auxiliary" and self.balance_weight is None else self.balance_weight
        rate = 0.001 if self.balance == "bias" and self.balance_rate is None else self.balance_rate
        told = {"hidden": hidden, "expansion": None, "active_groups": groups}
        return self.model_copy(update={**told, "balance_weight": weight, "balance_rate": rate})

    def _check(self, active_groups: int) -> None:
        if self.experts == 1:
            raise ValueError("has one expert, and one expert needs no router: that is the kind gated, or plain")
        if self.experts % self.groups:
            raise ValueError(f"has {self.experts} experts, which {self.groups} groups do not divide")
        if self.groups > 1 and self.active_groups is None:
            raise ValueError(f"has {self.groups} groups, all of which are open: say active_groups")
        if active_groups > self.groups:
            raise ValueError(f"has {self.groups} groups, fewer than active_groups {active_groups}")
        within = self.experts // self.groups * active_groups
        if self.active > within:
            raise ValueError(f"chooses {self.active} of {within} experts")
        if self.active == 1 and self.normalize:
            raise ValueError(
                "chooses one expert: the share of one is always 1, and the router would not learn: say normalize: false"
            )
        if self.shared_gate and not self.shared:
            raise ValueError("has no shared experts for shared_gate to gate")
        if self.balance_weight is not None and self.balance == "none":
            raise ValueError("balances nothing, so balance_weight has no effect")
        if self.balance_rate is not None and self.balance != "bias":
            raise ValueError(f"balances by '{self.balance}', so balance_rate has no effect")


class FeedForward(nn.Module):
    """Matrices of all experts in stacks, each [experts, out, in]; reports `load`: tokens that each expert took."""

    matrices: ClassVar[tuple[str, ...]] = ("up_EFD", "gate_EFD", "out_EDF")
    bias_E: Tensor | None

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.told = told = options.complete(sizes)
        assert told.hidden is not None
        stack = (told.experts, told.hidden, sizes.width)
        self.bend = ACTIVATIONS[told.activation]
        self.router = nn.Linear(sizes.width, told.experts, bias=False)
        self.up_EFD = nn.Parameter(torch.empty(stack))
        self.gate_EFD = nn.Parameter(torch.empty(stack)) if told.gated else None
        self.out_EDF = nn.Parameter(torch.empty(told.experts, sizes.width, told.hidden))
        self.shared = _Shared(told, sizes) if told.shared else None
        self.register_buffer("bias_E", torch.zeros(told.experts) if told.balance == "bias" else None)

    def forward(self, x_BTD: Tensor, span: Span) -> Tensor:
        """Each token by itself."""
        scores_BTE = self._scores(x_BTD)
        chosen_BTA = self._choice(scores_BTE.detach())
        share_BTA = scores_BTE.gather(-1, chosen_BTA)
        if self.told.normalize:
            share_BTA = share_BTA / (share_BTA.sum(-1, keepdim=True) + 1e-20)
        share_BTA = share_BTA * self.told.router_scale
        load_BE = _loads(chosen_BTA, self.told.experts)
        span.report(self, "load", load_BE.sum(0))
        if self.told.balance_weight is not None:
            span.add_loss(self, "balance", self.told.balance_weight * _leaning(scores_BTE, load_BE))
        y_BTD = self._routed(x_BTD.flatten(0, 1), chosen_BTA.flatten(0, 1), share_BTA.flatten(0, 1)).view_as(x_BTD)
        return y_BTD if self.shared is None else y_BTD + self.shared(x_BTD)

    def _scores(self, x_BTD: Tensor) -> Tensor:
        """The router's, in float32 or wider: the last bits of bfloat16 would decide who is chosen."""
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        with as_they_come(x_BTD.device):
            logits_BTE = F.linear(x_BTD.to(wide), self.router.weight.to(wide))
        return logits_BTE.softmax(-1) if self.told.score == "softmax" else logits_BTE.sigmoid()

    def _choice(self, scores_BTE: Tensor) -> Tensor:
        """Each token's experts, chosen_BTA."""
        if self.bias_E is not None:
            scores_BTE = scores_BTE + self.bias_E
        if self.told.active_groups != self.told.groups:
            grouped_BTGE = scores_BTE.unflatten(-1, (self.told.groups, -1))
            best_BTG = grouped_BTGE.topk(min(2, grouped_BTGE.size(-1)), dim=-1).values.sum(-1)
            open_BTG = torch.zeros_like(best_BTG).scatter(-1, best_BTG.topk(self.told.active_groups or 1).indices, 1)
            scores_BTE = grouped_BTGE.masked_fill(open_BTG[..., None] == 0, float("-inf")).flatten(-2)
        return scores_BTE.topk(self.told.active, dim=-1).indices

    def _routed(self, x_ND: Tensor, chosen_NA: Tensor, share_NA: Tensor) -> Tensor:
        """Tokens sorted by expert, each expert's with its own matrices, put back in order and summed by share."""
        expert_P, order_P = chosen_NA.flatten().sort(stable=True)
        numbers_E = torch.arange(self.told.experts, device=x_ND.device)
        ends_E = torch.searchsorted(expert_P, numbers_E, right=True, out_int32=True)
        x_PD = x_ND[order_P // self.told.active]
        up_PF = grouped_product(x_PD, self.up_EFD, ends_E)
        if self.gate_EFD is None:
            inner_PF = self.bend(up_PF)
        else:
            inner_PF = self.bend(grouped_product(x_PD, self.gate_EFD, ends_E)) * up_PF
        y_PD = grouped_product(inner_PF, self.out_EDF, ends_E)
        y_NAD = y_PD[order_P.argsort()].view(*chosen_NA.shape, -1)
        return (share_NA[..., None].to(y_NAD.dtype) * y_NAD).sum(1)

    @torch.no_grad()
    def adapt(self, reports: dict[str, Tensor]) -> None:
        """Once a step: experts with less than the mean load are favoured a little more, the others a little less."""
        if self.bias_E is not None and self.told.balance_rate is not None:
            load_E = reports["load"]  # whole numbers, which are compared with their mean without dividing
            self.bias_E += self.told.balance_rate * torch.sign(load_E.sum() - len(load_E) * load_E).to(self.bias_E)


class _Shared(nn.Module):
    """What every token gets beside its chosen experts: one part as wide as the shared ones together."""

    def __init__(self, told: Options, sizes: Sizes) -> None:
        super().__init__()
        hidden = told.shared * (told.hidden or 0)
        self.bend = ACTIVATIONS[told.activation]
        self.up = nn.Linear(sizes.width, hidden, bias=False)
        self.gate = nn.Linear(sizes.width, hidden, bias=False) if told.gated else None
        self.out = nn.Linear(hidden, sizes.width, bias=False)
        self.weigh = nn.Linear(sizes.width, 1, bias=False) if told.shared_gate else None

    def forward(self, x_BTD: Tensor) -> Tensor:
        up_BTF = self.up(x_BTD)
        inner_BTF = self.bend(up_BTF) if self.gate is None else self.bend(self.gate(x_BTD)) * up_BTF
        y_BTD = self.out(inner_BTF)
        return y_BTD if self.weigh is None else self.weigh(x_BTD).sigmoid() * y_BTD


def _loads(chosen_BTA: Tensor, experts: int) -> Tensor:
    """How many tokens of a row each expert took, load_BE; whole numbers, so that they add up in any order."""
    numbers_E = torch.arange(experts, device=chosen_BTA.device)
    return (chosen_BTA[..., None] == numbers_E).sum((1, 2))


def _leaning(scores_BTE: Tensor, load_BE: Tensor) -> Tensor:
    """Of each row, experts times the sum over them of share of load times mean share of score: 1 where even."""
    share_BE = (scores_BTE / scores_BTE.sum(-1, keepdim=True)).mean(1)
    load_BE = load_BE.to(share_BE.dtype)
    return scores_BTE.size(-1) * (share_BE * load_BE / load_BE.sum(-1, keepdim=True)).sum(-1)
