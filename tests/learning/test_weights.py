import torch

from lmmodel.learning.weights import Weights
from tests.learning import small


def test_in_float32_the_models_own_parameters_are_updated() -> None:
    model = small.model()
    assert all(Weights(model, precision="float32").masters[n] is p for n, p in model.named_parameters())


def test_in_bfloat16_the_model_computes_in_it_and_masters_are_not_rounded() -> None:
    model, told = small.model(), dict(small.model().named_parameters())
    weights = Weights(model, precision="bfloat16")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert all(torch.equal(master, told[name]) for name, master in weights.masters.items())


def test_updates_too_small_for_bfloat16_add_up_in_the_masters() -> None:
    model = small.model()
    weights = Weights(model, precision="bfloat16")
    before = {name: master.detach().clone() for name, master in weights.masters.items()}
    parameter, master = model.embedding.weight, weights.masters["embedding.weight"]
    with torch.no_grad():
        for _ in range(100):
            master += 1e-5
            weights.publish()
    assert torch.allclose(master, before["embedding.weight"] + 1e-3, atol=1e-6)
    assert torch.equal(parameter, master.bfloat16())


def test_gradients_of_parts_are_summed_in_float32() -> None:
    model = small.model()
    weights = Weights(model, precision="bfloat16")
    for gradient in (1.0, 0.001):  # in bfloat16 the second would be lost
        model.embedding.weight.grad = torch.full_like(model.embedding.weight, gradient)
        weights.gather()
        assert model.embedding.weight.grad is None
    summed = weights.masters["embedding.weight"].grad
    assert torch.allclose(summed, torch.full_like(summed, 1 + float(torch.tensor(0.001).bfloat16())))


def test_settled_the_model_is_in_float32_again_and_tied_tables_stay_one() -> None:
    model = small.model()
    weights = Weights(model, precision="bfloat16")
    weights.settle()
    assert all(torch.equal(p, weights.masters[name]) for name, p in model.named_parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.unembedding_VD is model.embedding.weight


def test_what_does_not_learn_is_computed_with_but_never_updated() -> None:
    model = small.model()
    model.embedding.weight.requires_grad_(False)
    weights = Weights(model, precision="bfloat16")
    assert "embedding.weight" not in weights.masters
    assert model.embedding.weight.dtype == torch.bfloat16
