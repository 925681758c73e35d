from collections import Counter

import pytest
import torch
from torch import nn

from lmmodel.architecture.roles import roles
from lmmodel.learning.families import OPTIMIZER
from lmmodel.learning.optimizer import muon
from lmmodel.learning.update import Update
from lmmodel.params.kinds import Chosen
from tests.learning import small


def update(parameters: dict[str, nn.Parameter], kind: str, *, named: dict | None = None, **told: object) -> Update:
    options = OPTIMIZER.options(kind).model_validate(told)
    constant = Chosen("constant", small.section(schedule="constant").schedule.options)
    return Update(
        parameters,
        roles=named or dict.fromkeys(parameters, "matrix"),
        optimizer=Chosen(kind, options),
        schedule=constant,
        clip=None,
        dtype=torch.float32,
    )


def follow(of: Update, gradients: list[dict[str, torch.Tensor]]) -> None:
    for step in gradients:
        for name, parameter in of.parameters.items():
            parameter.grad = step[name].clone()
        of.apply(0.5, of.norm())


def gradients_like(parameters: dict[str, nn.Parameter], steps: int = 3) -> list[dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(3)
    return [{name: torch.randn(p.shape, generator=draw) for name, p in parameters.items()} for _ in range(steps)]


@pytest.mark.parametrize("kind", OPTIMIZER.names())
@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_is_in_exactly_one_group(kind: str, tied: bool) -> None:
    model = small.model(embedding={"tied": tied}, attention={"kind": "multi_head", "bias": True, "qk_norm": "head"})
    named = dict(model.named_parameters())
    parts = update(named, kind, named=roles(model)).parts
    seen = Counter(p for part in parts for group in part.param_groups for p in group["params"])
    assert set(seen) == set(named.values())
    assert set(seen.values()) == {1}


def test_vectors_do_not_decay_and_only_matrices_are_made_orthogonal() -> None:
    model = small.model(embedding={"tied": False}, norm={"kind": "layer"})
    orthogonal, adamw = update(dict(model.named_parameters()), "muon", named=roles(model)).parts
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {names[p] for p in adamw.param_groups[0]["params"]} == {"embedding.weight", "head.weight"}
    assert adamw.param_groups[1]["weight_decay"] == 0
    assert all("norm" in names[p] for p in adamw.param_groups[1]["params"])
    assert not any("norm" in names[p] or "embedding" in names[p] for p in orthogonal.param_groups[0]["params"])


def test_muon_is_torchs_muon() -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = {"tall": (24, 8), "wide": (8, 24), "square": (16, 16), "wide too": (8, 24)}
    ours = {name: nn.Parameter(torch.randn(shape, generator=draw)) for name, shape in shapes.items()}
    theirs = {name: nn.Parameter(parameter.detach().clone()) for name, parameter in ours.items()}
    reference = torch.optim.Muon(list(theirs.values()), lr=0.02, weight_decay=0.1, momentum=0.95)
    gradients = gradients_like(ours)
    follow(update(ours, "muon", learning_rate=0.02, weight_decay=0.1, momentum=0.95), gradients)
    for step in gradients:
        for name, parameter in theirs.items():
            parameter.grad = step[name].clone()
        reference.step()
    for name, parameter in ours.items():  # theirs rounds to bfloat16 inside, by design
        assert torch.allclose(parameter, theirs[name], atol=0.02 * 0.1), name


def test_a_stack_of_matrices_is_updated_as_its_matrices_are() -> None:
    stack = torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(0))
    together = {"stack": nn.Parameter(stack.clone())}
    apart = {str(n): nn.Parameter(stack[n].clone()) for n in range(3)}
    gradients = gradients_like(together)
    follow(update(together, "muon"), gradients)
    follow(update(apart, "muon"), [{str(n): step["stack"][n] for n in range(3)} for step in gradients])
    assert torch.allclose(together["stack"], torch.stack(list(apart.values())), atol=1e-6)


def test_orthogonal_pulls_singular_values_to_about_1() -> None:
    matrices = torch.randn(4, 16, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(muon.orthogonal(matrices, 5, torch.float32))
    assert 0.6 < values.min() <= values.max() < 1.3


@pytest.mark.parametrize("kind", OPTIMIZER.names())
def test_what_was_kept_goes_on_as_if_nothing_had_happened(kind: str) -> None:
    def made() -> dict[str, nn.Parameter]:
        draw = torch.Generator().manual_seed(0)
        return {name: nn.Parameter(torch.randn(6, 6, generator=draw)) for name in "ab"}

    named = {"a": "matrix", "b": "embedding"}
    gradients = gradients_like(made(), 4)
    unbroken = update(made(), kind, named=named)
    follow(unbroken, gradients)
    first = update(made(), kind, named=named)
    follow(first, gradients[:2])
    second = update({n: nn.Parameter(p.detach().clone()) for n, p in first.parameters.items()}, kind, named=named)
    second.restore(first.state())
    follow(second, gradients[2:])
    assert all(torch.equal(second.parameters[n], unbroken.parameters[n]) for n in "ab")


def test_clipping_holds_the_norm_of_all_gradients_together() -> None:
    parameters = {name: nn.Parameter(torch.zeros(4)) for name in "ab"}
    clipped = update(parameters, "adamw", named=dict.fromkeys("ab", "vector"))
    clipped.clip = 0.5
    for parameter in parameters.values():
        parameter.grad = torch.full((4,), 3.0)
    norm = clipped.norm()
    assert float(norm) == pytest.approx(3 * 8**0.5)
    clipped.apply(0.5, norm)
    assert float(clipped.norm()) == pytest.approx(0.5, rel=1e-4)
