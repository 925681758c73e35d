"""Every way to attend equals plain loops over heads and tokens, forward and backward."""

from __future__ import annotations

import pytest
import torch

from lmmodel.architecture import attend as module
from lmmodel.architecture.attend import attend
from lmmodel.architecture.span import Span
from tests.architecture.naive import DOCUMENTS, assert_equal, naive, span_of, tensors
from tests.architecture.properties import error


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("T", [18, 7, 1])
@pytest.mark.parametrize("window", [None, 1, 4, 18])
@pytest.mark.parametrize("packed", [False, True])
def test_it_equals_plain_loops(groups, T, window, packed):
    S, documents = 18, DOCUMENTS if packed else None
    leaves = tensors(T, S, groups=groups)

    def sees(b: int, t: int, s: int) -> bool:
        back = t + S - T - s
        alike = documents is None or documents[b, S - T + t] == documents[b, s]
        return 0 <= back < (window or S) and bool(alike)

    assert_equal(attend(*leaves, span_of(T, S, documents), window=window), naive(*leaves, sees), leaves)


@pytest.mark.parametrize("T", [9, 3])
@pytest.mark.parametrize("extra", ["bias", "softcap", "sink_H", "scale", "all"])
def test_what_may_be_done_to_scores_equals_plain_loops(T, extra):
    S, leaves = 9, tensors(T, 9)
    sink_H = torch.randn(4, dtype=torch.float64, requires_grad=True)
    slope_H = torch.randn(4, dtype=torch.float64, requires_grad=True)
    extras = {
        "bias": lambda head, distance: -slope_H[head].abs() * distance,
        "softcap": 0.7,
        "sink_H": sink_H,
        "scale": 0.3,
    }
    told = extras if extra == "all" else {extra: extras[extra]}
    leaves += tuple(leaf for name, leaf in (("bias", slope_H), ("sink_H", sink_H)) if name in told)
    ours = attend(*leaves[:3], span_of(T, S), window=5, **told)
    assert_equal(ours, naive(*leaves[:3], lambda b, t, s: 0 <= t + S - T - s < 5, **told), leaves)


@pytest.mark.parametrize("window", [None, 9, 100])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("T", [65, 100, 300])
def test_strips_equal_the_fused_kernel(T, window, packed, monkeypatch):
    documents_BT = torch.arange(T).expand(2, T) // 70 if packed else None
    leaves = tensors(T, T)
    results = []
    for strips in (True, False):
        monkeypatch.setattr(module, "_strips_pay", lambda q, k, strips=strips: strips)
        results.append(
            attend(*leaves, Span(torch.zeros(2, T, dtype=torch.int64), documents_BT=documents_BT), window=window)
        )
    assert_equal(*results, leaves)


def test_strips_are_taken_where_they_pay():
    q_BTHK, k_BSGK, _ = (x.detach() for x in tensors(256, 256))
    narrow = q_BTHK.bfloat16(), k_BSGK.bfloat16()
    assert module._strips_pay(*narrow)
    assert not module._strips_pay(q_BTHK.float(), k_BSGK.float())
    assert not module._strips_pay(narrow[0][:, :3], narrow[1])
    assert not module._strips_pay(narrow[0].to("meta"), narrow[1].to("meta"))
    with torch.no_grad():
        assert not module._strips_pay(*narrow)


@pytest.mark.parametrize("T", [40, 256])
def test_bfloat16_is_as_near_as_its_digits_allow(T):
    leaves = tensors(T, T)
    span = Span(torch.zeros(2, T, dtype=torch.int64))
    exact, rounded = attend(*leaves, span), attend(*(leaf.bfloat16() for leaf in leaves), span)
    assert rounded.dtype == torch.bfloat16
    assert error(exact, rounded) < 0.03


def test_nobody_sees_nothing_however_documents_lie():
    documents_BT = torch.tensor([[7, 1, 1, 5, 5, 5, 2]])
    q, k, v = (x[:1] for x in tensors(7, 7))
    y = attend(q, k, v, Span(torch.zeros(1, 7, dtype=torch.int64), documents_BT=documents_BT), window=1)
    assert error(y, v.repeat_interleave(2, dim=2)) < 1e-15


@pytest.mark.parametrize("masked", [False, True])
def test_keys_are_copied_for_each_head_where_no_fused_kernel_knows_groups(masked, monkeypatch):
    leaves = tensors(40, 40)
    span = Span(
        torch.zeros(2, 40, dtype=torch.int64), documents_BT=torch.arange(40).expand(2, 40) // 15 if masked else None
    )
    shared = attend(*leaves, span)
    monkeypatch.setattr(module, "_kernel_knows_groups", lambda device, dtype, masked: False)
    assert_equal(attend(*leaves, span), shared, leaves)


@pytest.mark.parametrize(
    ("device", "dtype", "masked", "knows"),
    [
        ("cpu", torch.float32, True, True),
        ("cuda", torch.bfloat16, False, True),
        ("cuda", torch.bfloat16, True, False),
        ("cuda", torch.float32, False, False),
    ],
)
def test_only_flash_knows_groups_on_cuda(device, dtype, masked, knows):
    assert module._kernel_knows_groups(device, dtype, masked=masked) == knows


def test_strips_of_bfloat16_keep_shares_of_two_bytes_and_learn_what_float32_does():
    leaves, kept = [leaf.detach().bfloat16().requires_grad_() for leaf in tensors(100, 100)], []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        narrow = attend(*leaves, span_of(100, 100))
    assert {tensor.dtype for tensor in kept if tensor.is_floating_point() and tensor.dim() > 2} == {torch.bfloat16}
    wide_leaves = [leaf.detach().float().requires_grad_() for leaf in leaves]
    wide = attend(*wide_leaves, span_of(100, 100))
    assert (narrow - wide).norm() < 0.01 * wide.norm()
    for one, other in zip(leaves, wide_leaves, strict=True):
        (got,) = torch.autograd.grad(narrow.float().square().sum(), one, retain_graph=True)
        (wanted,) = torch.autograd.grad(wide.square().sum(), other, retain_graph=True)
        assert (got - wanted).norm() < 0.01 * wanted.norm()
