"""Products in 8 bits: rounded as the formats say, multiplied as float32 would, and learnt with as in bfloat16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lmmodel.learning import float8, machine
from lmmodel.learning.float8 import BACKWARD, FORWARD, product, rounded
from lmmodel.learning.weights import Weights
from lmmodel.params.refusal import Refusal
from tests.learning import small
from tests.learning.test_training import finish, same, until

UNIT = {FORWARD: 2.0**-4, BACKWARD: 2.0**-3}
"""Half of the last of 3, of 2 bits behind the point: the most that rounding changes a normal number, in its size."""
SMALLEST = {FORWARD: 2.0**-9, BACKWARD: 2.0**-16}
"""The least number above 0; half of it is the most that rounding changes a number below the normal ones."""
BFLOAT16_UNIT = 2.0**-8
FORMATS = pytest.mark.parametrize("dtype", [FORWARD, BACKWARD])


def drawn(*shape: int, seed: int, spread: float = 1.0) -> Tensor:
    """Numbers in bfloat16 whose sizes differ by factors of about exp(spread)."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (spread * torch.randn(shape, generator=generator)).exp()
    return (torch.randn(shape, generator=generator) * sizes).bfloat16()


def nearest(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Each of `x` scaled and rounded by search among all numbers of the format, and scaled back, in float64.

    Of two that are as near, that whose last bit is 0.
    """
    codes = torch.arange(256, dtype=torch.uint8)
    numbers, even = codes.view(dtype).double(), codes % 2 == 0
    numbers, even = numbers[numbers.isfinite()], even[numbers.isfinite()]
    power = 0
    largest = float(x.double().abs().max())
    while largest * 2.0**power > numbers.max():
        power -= 1
    while largest * 2.0 ** (power + 1) <= numbers.max():
        power += 1
    scaled = (x.double() * 2.0**power).flatten()
    off = (scaled[:, None] - numbers).abs()
    near = off == off.amin(1, keepdim=True)
    return numbers[(near.int() + (near & even).int()).argmax(1)].view(x.shape) * 2.0**-power


def bound(one_RK: Tensor, other_CK: Tensor, dtypes: tuple[torch.dtype, torch.dtype]) -> Tensor:
    """How far a product of rows with rows may be off: of each operand the rounding, and of the result that in bfloat16.

    An operand is off by its unit times its size, or by half of the smallest number, scaled: the larger of both.
    """
    errors = []
    for x, dtype in zip((one_RK, other_CK), dtypes, strict=True):
        scale = float(x.double().abs().max()) / (torch.finfo(dtype).max / 2)  # at most, for the next power of two
        errors.append((UNIT[dtype] * x.double().abs()).clamp(min=scale * SMALLEST[dtype] / 2))
    one, other = one_RK.double().abs(), other_CK.double().abs()
    operands = errors[0] @ other.mT + one @ errors[1].mT + errors[0] @ errors[1].mT
    return operands + BFLOAT16_UNIT * (one @ other.mT + operands)


@FORMATS
@settings(deadline=None)
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20))
def test_a_number_is_off_by_no_more_than_its_format_allows(dtype: torch.dtype, numbers: list[float]) -> None:
    x = torch.tensor([numbers]).bfloat16()
    values, scale = rounded(x, dtype)
    assert torch.frexp(scale).mantissa == 0.5  # a power of two
    assert torch.isfinite(values.float()).all()
    off = (values.double() * scale.double() - x.double()).abs()
    assert (off <= (UNIT[dtype] * x.double().abs()).clamp(min=float(scale) * SMALLEST[dtype] / 2)).all()
    if x.abs().max() > 2.0**-80:
        assert values.float().abs().max() >= torch.finfo(dtype).max / 2


@FORMATS
def test_rounding_is_to_the_nearest_number_of_the_format(dtype: torch.dtype) -> None:
    x = drawn(40, 30, seed=1, spread=3.0)
    values, scale = rounded(x, dtype)
    assert torch.equal(values.double() * scale.double(), nearest(x, dtype))


@FORMATS
def test_what_stands_beside_a_number_does_not_change_how_it_is_rounded(dtype: torch.dtype) -> None:
    """So parts of a batch, each scaled by its own largest, give what the whole gives."""
    x = drawn(16, 32, seed=2, spread=0.2).clamp(min=0.25)
    beside = torch.cat([x, 100 * x])
    alone, together = rounded(x, dtype), rounded(beside, dtype)
    assert together.scale > alone.scale
    assert torch.equal(alone.values_RC.float() * alone.scale, together.values_RC[:16].float() * together.scale)


@FORMATS
@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_so(dtype: torch.dtype, spoilt: float) -> None:
    x = drawn(16, 16, seed=3)
    x[3, 4] = spoilt
    values, scale = rounded(x, dtype)
    assert not torch.isfinite(values.float() * scale).any()
    assert not torch.isfinite(product(x, drawn(16, 16, seed=4)).float()[3]).all()


@FORMATS
def test_nothing_stays_nothing(dtype: torch.dtype) -> None:
    values, scale = rounded(torch.zeros(2, 3), dtype)
    assert not values.float().any()
    assert torch.isfinite(1 / scale)


SHAPES = pytest.mark.parametrize("rows", [(32,), (4, 8), (3, 7)])


def passed(rows: tuple[int, ...]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Operands, and what a product and its way back made of them, rows flat."""
    x = drawn(*rows, 48, seed=5).requires_grad_()
    weight = drawn(32, 48, seed=6, spread=0.5).requires_grad_()
    y = product(x, weight)
    assert y.shape == (*rows, 32)
    assert y.dtype == torch.bfloat16
    grad = drawn(*rows, 32, seed=8)
    y.backward(grad)
    assert x.grad is not None
    assert weight.grad is not None
    given = {"x": x.detach().flatten(0, -2), "weight": weight.detach(), "grad": grad.flatten(0, -2)}
    found = {"y": y.detach().flatten(0, -2), "x": x.grad.flatten(0, -2), "weight": weight.grad}
    return given, found


def operands(given: dict[str, Tensor], of: str) -> tuple[Tensor, Tensor]:
    """What is multiplied, rows with rows."""
    x, weight, grad = given["x"], given["weight"], given["grad"]
    return {"y": (x, weight), "x": (grad, weight.mT), "weight": (grad.mT, x.mT)}[of]


DTYPES = {"y": (FORWARD, FORWARD), "x": (BACKWARD, FORWARD), "weight": (BACKWARD, FORWARD)}


@SHAPES
@pytest.mark.parametrize("of", ["y", "x", "weight"])
def test_product_and_gradients_are_those_of_rounded_operands(rows: tuple[int, ...], of: str) -> None:
    """Of operands rounded by search and multiplied in float64: bfloat16's rounding of the result is left."""
    given, found = passed(rows)
    one, other = (nearest(x, dtype) for x, dtype in zip(operands(given, of), DTYPES[of], strict=True))
    wanted = one @ other.mT
    room = BFLOAT16_UNIT * wanted.abs() + 1e-5 * (one.abs() @ other.abs().mT)
    assert ((found[of].double() - wanted).abs() <= room).all()


@SHAPES
@pytest.mark.parametrize("of", ["y", "x", "weight"])
def test_product_and_gradients_are_as_near_as_the_formats_allow(rows: tuple[int, ...], of: str) -> None:
    given, found = passed(rows)
    one, other = operands(given, of)
    off = (found[of].double() - one.double() @ other.double().mT).abs()
    assert (off <= bound(one, other, DTYPES[of])).all()
    typical = float((one.double() @ other.double().mT).square().mean().sqrt())
    assert 0.005 < float(off.square().mean().sqrt()) / typical < 0.1  # 8 bits, and not 16


def test_a_bias_is_added_to_the_product() -> None:
    x, weight, bias = drawn(4, 16, seed=1), drawn(32, 16, seed=2), drawn(32, seed=3).requires_grad_()
    assert torch.equal(product(x, weight, bias), product(x, weight) + bias)
    product(x, weight, bias).sum().backward()
    assert bias.grad is not None
    assert torch.equal(bias.grad, torch.full_like(bias, 4.0))


def test_a_product_gives_its_gradient_only_where_one_is_wanted() -> None:
    x, weight = drawn(16, 16, seed=1).requires_grad_(), drawn(16, 16, seed=2)
    product(x, weight).sum().backward()
    assert x.grad is not None
    assert weight.grad is None


def test_linears_of_layers_multiply_in_8_bits_and_nothing_else() -> None:
    experts = {"kind": "experts", "experts": 16, "active": 2, "shared": 1, "hidden": 32}
    model = small.model(feed_forward=experts, embedding={"tied": False}, head={"ahead": 1})
    model.layers[0].feed_forward.shared.up = nn.Linear(16, 24)
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    float8.narrow(model)
    left = {name for name, module in linears.items() if "forward" not in vars(module)}
    assert left == {"head", "layers.0.feed_forward.shared.up"}
    assert any(name.startswith("ahead.0.attention") for name in linears.keys() - left)
    float8.widen(model)
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_router_that_is_not_called_decides_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small.model(feed_forward={"kind": "experts", "experts": 16, "active": 2, "hidden": 32})
    Weights(model, precision="float8")
    seen: list[Tensor] = []
    original = float8.product

    def watched(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
        seen.append(weight_OI)
        return original(x, weight_OI, bias_O)

    monkeypatch.setattr(float8, "product", watched)
    model(torch.arange(16)[None])
    assert len(seen) == 2 * 4  # query, key, value and out of two layers
    assert not {id(weight) for weight in seen} & {id(layer.feed_forward.router.weight) for layer in model.layers}


def test_masters_stay_whole_and_the_model_is_settled_in_float32() -> None:
    model, told = small.model(), dict(small.model().named_parameters())
    weights = Weights(model, precision="float8")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert all(torch.equal(master, told[name]) for name, master in weights.masters.items())
    weights.settle()
    assert torch.equal(model(torch.arange(16)[None]), small.model()(torch.arange(16)[None]))


def training(scratch: Path, precision: str = "float8", *, plan: dict[str, Any] | None = None, **options: Any) -> Any:
    """Past the door, since this processor computes such products, if slowly."""
    told = small.section(optimizer="muon", budget={"tokens": 40 * small.ROWS * small.CONTEXT})
    decided = replace(small.plan(told, **(plan or {})), precision=precision)
    return small.training(scratch, told=told, plan=decided, **options)


def test_it_learns_what_bfloat16_learns(tmp_path: Path) -> None:
    rows = []
    for precision in ("bfloat16", "float8"):
        one = training(tmp_path / precision, precision)
        finish(one)
        rows.append(one.rows)
    wide, narrow = ([row["validation_loss_nats"] for row in some] for some in rows)
    assert narrow != wide
    assert narrow == pytest.approx(wide, abs=0.02)
    assert narrow[1] < narrow[0] < 3.5  # of ln 40 = 3.689


def test_it_goes_on_to_the_same_bytes_and_so_does_what_is_computed_again(tmp_path: Path) -> None:
    wanted = finish(training(tmp_path / "unbroken"))
    until(training(tmp_path / "broken", save_seconds=0), 7)
    assert same(finish(training(tmp_path / "broken")), wanted)
    assert same(finish(training(tmp_path / "again", plan={"activation_checkpointing": True})), wanted)


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_it_learns_the_same(tmp_path: Path) -> None:
    rows = []
    for compiled in (False, True):
        one = training(tmp_path / str(compiled), plan={"compile": compiled})
        finish(one)
        assert one.plan.compiled == compiled
        rows.append([row["validation_loss_nats"] for row in one.rows])
    assert rows[1] == pytest.approx(rows[0], abs=0.02)


def test_a_device_that_does_not_multiply_in_8_bits_is_refused_with_what_it_can() -> None:
    with pytest.raises(
        Refusal, match="pretrain.precision 'float8' takes a GPU .* on cpu: take auto, bfloat16 or float32"
    ):
        small.plan(small.section(precision="float8"))


@pytest.mark.parametrize(("capability", "can"), [((8, 6), False), ((8, 9), True), ((9, 0), True), ((10, 0), True)])
def test_a_gpu_is_told_by_its_capability(
    capability: tuple[int, int], can: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    if can:
        assert machine.precision("float8", "cuda") == "float8"
    else:
        with pytest.raises(Refusal, match="this trains on Some GPU, compute capability 8.6"):
            machine.precision("float8", "cuda")


def test_a_processor_is_never_taken_for_a_gpu() -> None:
    assert not machine.computes_in_float8("cpu")
    assert not machine.computes_in_float8("mps")
