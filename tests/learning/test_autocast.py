"""`precision: autocast`: weights stay as they are, products are of bfloat16, and digits that matter are kept."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lmmodel.architecture.attention import gated_delta
from lmmodel.architecture.families import NORM
from lmmodel.architecture.feed_forward.experts import FeedForward
from lmmodel.architecture.grouped import grouped_product
from lmmodel.architecture.kernels import Watching
from lmmodel.architecture.model import Model, build
from lmmodel.architecture.narrowing import OutNorm
from lmmodel.architecture.resolve import designs
from lmmodel.architecture.sizes import Sizes
from lmmodel.learning.blame import tensors
from lmmodel.learning.loss import Batch, Objective
from lmmodel.learning.weights import Weights
from tests.architecture import properties
from tests.learning import small
from tests.learning.test_training import finish, same, until

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "grouped_product"}


class Products(Watching):
    """The types that products were of."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def see(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if function._schema.name.rpartition("::")[2] in PRODUCTS:
            self.seen |= {operand.dtype for operand in tensors(args) if operand.is_floating_point()}


def batch(vocabulary: int = small.VOCABULARY, context: int = small.CONTEXT) -> Batch:
    tokens_BT = torch.randint(vocabulary, (3, context + 1), generator=torch.Generator().manual_seed(1))
    return Batch(tokens_BT[:, :-1], tokens_BT[:, 1:])


def test_masters_are_the_models_own_weights_which_are_not_rounded() -> None:
    model = small.model()
    weights = Weights(model, precision="autocast")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(master is model.get_parameter(name) for name, master in weights.masters.items())


@pytest.mark.parametrize(("precision", "dtype"), [("autocast", torch.bfloat16), ("float32", torch.float32)])
def test_products_are_of_bfloat16_and_sums_of_float32(precision: str, dtype: torch.dtype) -> None:
    told = batch()
    with Products() as products:
        losses = Objective(small.model(), precision=precision)(told)
        losses.total.backward()
    assert products.seen == {dtype}
    assert losses.total.dtype == losses.nats.dtype == torch.float32
    ones = torch.zeros(3, small.CONTEXT)
    ones[0, 0] = 1.0
    one = Objective(small.model(), precision=precision)(told._replace(weights_BT=ones)).nats
    assert one.bfloat16().float() != one  # of one token: rounded to eight bits it would be another number


def shrunk(name: str) -> Model:
    declaration = properties.declared(name, "width: 32, depth: 4, heads: 4, context: 16")
    return build(declaration, seed=0)


@pytest.mark.parametrize("name", designs())
def test_every_design_learns_by_it_what_it_learns_in_float32(name: str) -> None:
    gradients, nats = [], []
    for precision in ("float32", "autocast"):
        model = shrunk(name)
        losses = Objective(model, precision=precision)(batch(model.declaration.vocab_size))
        losses.total.backward()
        nats.append(float(losses.nats))
        gradients.append({name: value.grad for name, value in model.named_parameters() if value.grad is not None})
    wide, narrow = gradients
    assert narrow.keys() == wide.keys()
    assert {gradient.dtype for gradient in narrow.values()} == {torch.float32}
    assert nats[1] == pytest.approx(nats[0], rel=0.01)
    assert nats[1] != nats[0]
    whole, other = (torch.cat([gradient.flatten() for gradient in one.values()]) for one in (wide, narrow))
    assert torch.nn.functional.cosine_similarity(whole, other, dim=0) > 0.99


def test_it_leaves_the_router_alone_and_narrows_the_experts_own_products() -> None:
    model = small.model(feed_forward={"kind": "experts", "experts": 8})
    router = model.layers[0].feed_forward
    assert isinstance(router, FeedForward)
    x_BTD = torch.randn(2, 16, 16)
    wanted = router._scores(x_BTD)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(router._scores(x_BTD), wanted)
        assert grouped(x_BTD[0]).dtype == torch.bfloat16
    assert grouped(x_BTD[0]).dtype == torch.float32


def test_the_delta_rule_solves_in_float32_what_bfloat16_gave_it() -> None:
    seen = []
    for guard in (gated_delta.as_they_come, lambda device: nullcontext()):
        with pytest.MonkeyPatch.context() as patch, Products() as products, torch.autocast("cpu", torch.bfloat16):
            patch.setattr(gated_delta, "as_they_come", guard)
            small.model(attention="gated_delta").trace(torch.arange(16)[None])
        seen.append(products.seen)
    assert seen == [{torch.bfloat16, torch.float32}, {torch.bfloat16}]


@pytest.mark.parametrize("name", NORM.names())
def test_norms_hand_on_the_type_that_they_are_given(name: str) -> None:
    norm = NORM.load(name)(NORM.options(name)(), Sizes(width=8, depth=1, heads=1, head_width=8, context=4))
    x = torch.randn(3, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(x).dtype == OutNorm(8)(x).dtype == torch.bfloat16


def grouped(x_NI: Tensor) -> Tensor:
    return grouped_product(x_NI, torch.randn(2, 8, 16), torch.tensor([5, 16], dtype=torch.int32))


def test_it_goes_on_to_the_same_bytes_and_so_does_what_is_computed_again(tmp_path: Path) -> None:
    told = small.section(precision="autocast", optimizer="muon")
    wanted = finish(small.training(tmp_path / "unbroken", told=told))
    until(small.training(tmp_path / "broken", told=told, save_seconds=0), 5)
    assert same(finish(small.training(tmp_path / "broken", told=told)), wanted)
    again = small.plan(told, activation_checkpointing=True)
    assert same(finish(small.training(tmp_path / "again", told=told, plan=again)), wanted)


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_it_learns_the_same(tmp_path: Path) -> None:
    told, rows = small.section(precision="autocast"), []
    for compiled in (False, True):
        one = small.training(tmp_path / str(compiled), told=told, plan=small.plan(told, compile=compiled))
        finish(one)
        assert one.plan.compiled == compiled
        rows.append([row["validation_loss_nats"] for row in one.rows])
    assert rows[1] == pytest.approx(rows[0], abs=0.02)
