from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError
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


def as_numbers(parameters: dict[str, nn.Parameter]) -> dict[str, np.ndarray]:
    return {name: parameter.detach().double().numpy().copy() for name, parameter in parameters.items()}


def test_lion_is_the_papers() -> None:
    parameters = {name: nn.Parameter(torch.randn(4, 5, generator=torch.Generator().manual_seed(0))) for name in "a"}
    wanted, gradients = as_numbers(parameters)["a"], gradients_like(parameters, 6)
    follow(update(parameters, "lion", learning_rate=0.01, weight_decay=0.3, beta1=0.8, beta2=0.95), gradients)
    momentum = np.zeros_like(wanted)
    for step in gradients:
        gradient = step["a"].double().numpy()
        wanted -= 0.01 * (np.sign(0.8 * momentum + 0.2 * gradient) + 0.3 * wanted)
        momentum = 0.95 * momentum + 0.05 * gradient
    assert np.allclose(parameters["a"].detach().numpy(), wanted, atol=1e-6)


def test_schedule_free_is_the_papers_and_is_judged_at_its_average() -> None:
    parameters = {"a": nn.Parameter(torch.randn(4, 5, generator=torch.Generator().manual_seed(0)))}
    average = as_numbers(parameters)["a"]
    gradients = gradients_like(parameters, 20)
    ours = update(parameters, "schedule_free", learning_rate=0.05, weight_decay=0.2, beta1=0.8, beta2=0.9)
    follow(ours, gradients)
    iterate, between, square, weights = average.copy(), average.copy(), np.zeros_like(average), 0.0
    for number, step in enumerate(gradients, 1):
        gradient = step["a"].double().numpy()
        square = 0.9 * square + 0.1 * gradient**2
        rate = 0.05 * (1 - 0.9**number) ** 0.5
        iterate = iterate - rate * gradient / (np.sqrt(square) + 1e-8) - rate * 0.2 * between
        weights += rate**2
        average = (1 - rate**2 / weights) * average + rate**2 / weights * iterate
        between = 0.2 * iterate + 0.8 * average
    assert np.allclose(parameters["a"].detach().numpy(), between, atol=1e-5)
    assert np.allclose(ours.averaged()["a"].numpy(), average, atol=1e-5)
    assert np.abs(average - between).max() > 1e-3


def naive_soap(weight: np.ndarray, gradients: list[np.ndarray], *, every: int, sides: str) -> np.ndarray:
    """Algorithm 3 for one matrix, without weight decay; `sides`, of "lr", have a basis."""
    rows, columns = weight.shape
    first = gradients[0]
    means = {"l": 0.1 * first @ first.T, "r": 0.1 * first.T @ first}
    bases = {side: np.linalg.eigh(mean)[1][:, ::-1] for side, mean in means.items()}
    bases |= {side: np.eye(size) for side, size in (("l", rows), ("r", columns)) if side not in sides}
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    for number, gradient in enumerate(gradients[1:], 1):
        mean = 0.8 * mean + 0.2 * gradient
        square = 0.9 * square + 0.1 * (bases["l"].T @ gradient @ bases["r"]) ** 2
        turned = bases["l"].T @ mean @ bases["r"] / (1 - 0.8**number)
        turned /= np.sqrt(square / (1 - 0.9**number)) + 1e-8
        weight = weight - 0.01 * bases["l"] @ turned @ bases["r"].T
        for side, product in (("l", gradient @ gradient.T), ("r", gradient.T @ gradient)):
            means[side] = 0.9 * means[side] + 0.1 * product
            if number % every == 0 and side in sides:
                basis = bases[side]
                order = np.argsort(-np.diag(basis.T @ means[side] @ basis), kind="stable")
                square = square[order] if side == "l" else square[:, order]
                bases[side] = np.linalg.qr(means[side] @ basis[:, order])[0]
    return weight


@pytest.mark.parametrize(("shape", "longest", "sides"), [((5, 5), 5, "lr"), ((6, 4), 5, "r"), ((4, 6), 5, "l")])
def test_soap_is_the_papers(shape: tuple[int, int], longest: int, sides: str) -> None:
    parameters = {"a": nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.double))}
    gradients = [{"a": step["a"].double()} for step in gradients_like(parameters, 9)]
    wanted = naive_soap(as_numbers(parameters)["a"], [g["a"].numpy() for g in gradients], every=3, sides=sides)
    told = {"learning_rate": 0.01, "weight_decay": 0.0, "beta1": 0.8, "beta2": 0.9, "basis_steps": 3}
    follow(update(parameters, "soap", longest_side=longest, **told), gradients)
    assert np.allclose(parameters["a"].detach().numpy(), wanted, atol=1e-9)


def test_soap_in_its_basis_does_not_mind_how_a_problem_is_turned() -> None:
    """Adam does: it is what the basis is for."""
    draw = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=draw, dtype=torch.double)).Q
    start = torch.randn(5, 5, generator=draw, dtype=torch.double)
    gradients = [{"a": torch.randn(5, 5, generator=draw, dtype=torch.double)} for _ in range(8)]
    turned_gradients = [{"a": turn @ step["a"]} for step in gradients]
    apart = {}
    for kind in ("soap", "adamw"):
        straight, turned = {"a": nn.Parameter(start.clone())}, {"a": nn.Parameter(turn @ start)}
        follow(update(straight, kind, learning_rate=0.1), gradients)
        follow(update(turned, kind, learning_rate=0.1), turned_gradients)
        apart[kind] = float((turn @ straight["a"] - turned["a"]).detach().abs().max())
    assert apart["soap"] < 1e-6 < 1e-2 < apart["adamw"]


@pytest.mark.parametrize("kind", ["muon", "soap"])
def test_a_stack_of_matrices_is_updated_as_its_matrices_are(kind: str) -> None:
    stack = torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(0))
    together = {"stack": nn.Parameter(stack.clone())}
    apart = {str(n): nn.Parameter(stack[n].clone()) for n in range(3)}
    gradients = gradients_like(together, 12)
    follow(update(together, kind), gradients)
    follow(update(apart, kind), [{str(n): step["stack"][n] for n in range(3)} for step in gradients])
    assert torch.allclose(together["stack"], torch.stack(list(apart.values())), atol=1e-4)


@pytest.mark.parametrize("kind", OPTIMIZER.names())
def test_every_kind_gets_down_a_valley(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    goal, start = torch.randn(2, 6, 8, generator=draw)
    parameters = {"a": nn.Parameter(start.clone())}
    of = update(parameters, kind, learning_rate=0.05, weight_decay=0.0)
    steep = torch.logspace(0, 1, 8)
    for _ in range(200):
        follow(of, [{"a": (parameters["a"].detach() - goal) * steep}])
    found = of.averaged().get("a", parameters["a"].detach())
    assert float(((found - goal) ** 2 * steep).sum()) < 0.01 * float(((start - goal) ** 2 * steep).sum())


def test_a_kind_that_averages_takes_no_schedule_that_falls() -> None:
    with pytest.raises(ValidationError, match="'cosine' does not go with schedule_free, which takes constant"):
        small.section(optimizer="schedule_free", schedule="cosine")
    with pytest.raises(ValidationError, match="'warmup_stable_decay' does not go with schedule_free"):
        small.section(optimizer="schedule_free")
    assert small.section(optimizer="schedule_free", schedule="constant").optimizer.kind == "schedule_free"
