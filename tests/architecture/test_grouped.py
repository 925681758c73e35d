"""Groups of rows, each times a matrix of its own."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from lmmodel.architecture import grouped as module
from lmmodel.architecture.grouped import grouped_product
from tests.architecture import properties

ENDS_E = torch.tensor([4, 4, 9, 12], dtype=torch.int32)  # the second group is empty


def operands(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x_NI = torch.randn(12, 6, generator=generator).to(dtype).requires_grad_()
    weight_EOI = torch.randn(4, 5, 6, generator=generator).to(dtype).requires_grad_()
    return x_NI, weight_EOI


def naive(x_NI, weight_EOI):
    group_N = [0] * 4 + [2] * 5 + [3] * 3
    return torch.stack([weight_EOI[group] @ row for row, group in zip(x_NI, group_N, strict=True)])


def test_it_equals_one_product_a_row_forward_and_backward():
    results = []
    for way in (naive, lambda x, weight: grouped_product(x, weight, ENDS_E)):
        x_NI, weight_EOI = operands()
        y_NO = way(x_NI, weight_EOI)
        (y_NO * torch.arange(60.0, dtype=y_NO.dtype).view(12, 5)).sum().backward()
        results.append((y_NO, x_NI.grad, weight_EOI.grad))
    for one, other in zip(*results, strict=True):
        assert properties.error(one, other) < 1e-12


def test_torch_is_told_the_truth_about_it():
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    operations = torch.ops.lmmodel
    torch.library.opcheck(operations.grouped_product.default, (*operands(torch.float32), ENDS_E), test_utils=tests)
    outer = (torch.randn(12, 5), torch.randn(12, 6), ENDS_E)
    torch.library.opcheck(operations.grouped_outer.default, outer, test_utils=tests)


def test_its_operations_are_counted():
    x_NI, weight_EOI = operands(torch.float32)
    with FlopCounterMode(display=False) as counter:
        y_NO = grouped_product(x_NI, weight_EOI, ENDS_E)
    assert counter.get_total_flops() == 2 * 12 * 6 * 5
    with FlopCounterMode(display=False) as counter:
        y_NO.sum().backward()
    assert counter.get_total_flops() == 2 * 2 * 12 * 6 * 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torchs_own_product_equals_the_loop(dtype, monkeypatch):
    """On a processor torch computes its grouped product by a loop of its own: the same call as on a GPU."""
    generator = torch.Generator().manual_seed(0)
    x_NI = torch.randn(96, 64, generator=generator).to(dtype)
    weight_EOI = (torch.randn(4, 32, 64, generator=generator) / 8).to(dtype)
    ends_E = torch.tensor([40, 40, 70, 96], dtype=torch.int32)
    results, taken = [], []
    for kernel in (False, True):

        def has(*operands, widths, kernel=kernel):
            taken.append(kernel)
            return kernel

        monkeypatch.setattr(module, "_has_kernel", has)
        x, weight = (part.detach().requires_grad_() for part in (x_NI, weight_EOI))
        y = grouped_product(x, weight, ends_E)
        y.float().square().sum().backward()
        results.append([part.detach().float() for part in (y, x.grad, weight.grad)])
    assert taken == [False] * 3 + [True] * 3
    for one, other in zip(*results, strict=True):
        assert properties.error(one, other) <= 1e-6 * one.abs().max().item()


@pytest.mark.parametrize(
    ("rows", "outputs", "inputs", "dtype", "device", "has"),
    [
        (95, 32, 64, torch.bfloat16, "cuda", True),
        (96, 30, 64, torch.bfloat16, "cuda", False),
        (96, 32, 60, torch.bfloat16, "cuda", False),
        (96, 32, 64, torch.float32, "cuda", False),
        (96, 32, 64, torch.bfloat16, "cpu", False),
    ],
)
def test_a_kernel_is_called_only_with_what_it_takes(rows, outputs, inputs, dtype, device, has):
    """Without a GPU: tensors that have its name and shapes, which torch's kernel is asked about and not run."""
    with FakeTensorMode():
        x_NI = torch.empty(rows, inputs, dtype=dtype, device=device)
        weight_EOI = torch.empty(4, outputs, inputs, dtype=dtype, device=device)
        y_NO, ends_E = x_NI.new_empty(rows, outputs), torch.empty(4, dtype=torch.int32, device=device)
        forward, backward = (weight_EOI, weight_EOI.mT), (x_NI, y_NO)
        for weight, rows_in in zip(forward, backward, strict=True):
            assert module._has_kernel(rows_in, weight, widths=weight.shape[1:]) == has
            if has:
                assert module._product(rows_in, weight, ends_E).shape == (rows, weight.size(1))
        if has:
            assert module._outer(y_NO, x_NI, ends_E).shape == weight_EOI.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch's own grouped product needs a GPU")
def test_the_kernel_equals_the_loop():
    generator = torch.Generator().manual_seed(0)
    x_NI = torch.randn(96, 64, generator=generator).bfloat16()
    weight_EOI = (torch.randn(4, 32, 64, generator=generator) / 8).bfloat16()
    ends_E = torch.tensor([40, 40, 70, 96], dtype=torch.int32)
    results = []
    for device in ("cpu", "cuda"):
        x, weight = (part.detach().to(device).requires_grad_() for part in (x_NI, weight_EOI))
        y = grouped_product(x, weight, ends_E.to(device))
        y.float().square().sum().backward()
        results.append([part.detach().float().cpu() for part in (y, x.grad, weight.grad)])
    for one, other in zip(*results, strict=True):
        assert properties.error(one, other) < 0.02 * one.abs().max().item()
