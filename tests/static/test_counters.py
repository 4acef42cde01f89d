"""Operators that counters are known to pass over: each is handled or named, never a silent zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.static.flops import DispatchCount, count_with_fvcore
from bench.static.trace import Trace


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def count(function: Callable[[Tensor], Tensor], *shape: int) -> tuple[DispatchCount, object]:
    dispatch = DispatchCount()
    with torch.no_grad(), Trace(dispatch):
        function(torch.empty(shape, device="meta"))
    return dispatch, count_with_fvcore(Call(function), (torch.randn(shape),))


def attention(x: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(x, x, x)


def grouped(x: Tensor, weight: Tensor) -> Tensor:
    return functional.conv1d(x, weight, groups=2)


def elementwise(x: Tensor) -> Tensor:
    return torch.cat([(x * 2).relu().sigmoid(), x + 1], 1).transpose(1, 2).contiguous()


B, N, D = 3, 10, 6
PRODUCTS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "attention": (
        lambda x: functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None]),
        2 * B * N * N * D,
    ),
    "einsum": (lambda x: torch.einsum("bnd,bmd->bnm", x, x), B * N * N * D),
    "einsum, many digits": (lambda x: torch.einsum("bnd,dm->bnm", x, x.new_ones(D, 1237)), B * N * D * 1237),
    "broadcast matmul, first smaller": (lambda x: x[:1] @ x.transpose(1, 2), B * N * N * D),
    "broadcast matmul, second smaller": (lambda x: x @ x[0].t(), B * N * N * D),
    "matmul with a vector": (lambda x: x @ x[0, 0], B * N * D),
    "bmm": (lambda x: torch.bmm(x, x.transpose(1, 2)), B * N * N * D),
    "baddbmm": (lambda x: torch.baddbmm(x.new_zeros(1, 1, 1), x, x.transpose(1, 2)), B * N * N * D),
    "linear": (lambda x: functional.linear(x, x.new_ones(7, D)), B * N * D * 7),
    "grouped convolution": (
        lambda x: functional.conv1d(x, x.new_ones(2 * N, N // 2, 3), groups=2),
        3 * B * N * N * (D - 2),
    ),
    "transposed convolution": (lambda x: functional.conv_transpose1d(x, x.new_ones(N, 4, 3)), 3 * 4 * B * N * D),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_counted_alike_and_right(name: str) -> None:
    function, macs = PRODUCTS[name]
    dispatch, fvcore = count(function, B, N, D)
    assert dispatch.macs == macs
    assert fvcore.macs == macs or "baddbmm" in fvcore.passed_over


PASSED_OVER: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: x.softmax(-1),
    "max_pool2d_with_indices": lambda x: functional.max_pool2d(x, 2),
    "adaptive_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, 3),
    "upsample_bilinear2d": lambda x: functional.interpolate(x, (9, 9), mode="bilinear", align_corners=True),
    "batch_norm": lambda x: functional.batch_norm(x, x.new_zeros(4), x.new_ones(4)),
    "layer_norm": lambda x: functional.layer_norm(x, x.shape[1:]),
    "sum": lambda x: (x * x).sum(),
    "im2col": lambda x: functional.unfold(x, 3),
    "cumsum": lambda x: x.cumsum(-1),
    "sort": lambda x: x.sort(-1).values,
}


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_has_weight_and_no_count_is_named_by_both(name: str) -> None:
    dispatch, fvcore = count(PASSED_OVER[name], 2, 4, 8, 8)
    assert dispatch.macs == fvcore.macs == 0
    assert name in dispatch.passed_over
    assert name.partition("_with")[0] in fvcore.passed_over


def test_elementwise_and_moving_operators_are_not_named() -> None:
    dispatch, fvcore = count(
        lambda x: torch.cat([(x * 2).relu().sigmoid(), x + 1], 1).transpose(1, 2).contiguous(), 2, 4, 8
    )
    assert not dispatch.passed_over
    assert not fvcore.passed_over


def test_an_operator_of_another_library_is_named_in_full() -> None:
    with torch.library._scoped_library("contextbench_test", "DEF") as library:
        library.define("mystery(Tensor x) -> Tensor")
        library.impl("mystery", lambda x: x.clone(), "CompositeExplicitAutograd")
        dispatch, fvcore = count(lambda x: torch.ops.contextbench_test.mystery(x), 2, 4)
    assert list(dispatch.passed_over) == ["contextbench_test::mystery"]
    assert list(fvcore.passed_over) == ["contextbench_test::mystery"]


def test_operators_inside_of_inference_mode_are_taken_apart() -> None:
    def infer(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return functional.linear(x, x.new_ones(7, D))

    dispatch = DispatchCount()
    with Trace(dispatch):
        infer(torch.empty(B, N, D, device="meta"))
    assert dispatch.macs == B * N * D * 7
