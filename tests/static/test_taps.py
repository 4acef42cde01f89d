"""Multiply-adds by class of rate against closed forms, and executed taps against counting them one by one."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.case import make_case
from bench.static import StaticFigures, trace_figures
from bench.static.flops import DispatchCount
from bench.static.taps import CLASSES, taps_inside
from bench.static.trace import Trace
from modules import registry

H, W, C = 16, 24, 64
N = H * W


def figures(entry: str, **options: object) -> StaticFigures:
    return trace_figures(make_case(entry, options, H, W, C))


def one_by_one(size: int, places: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return sum(
        0 <= place * stride + tap * dilation - padding < size
        for place, tap in itertools.product(range(places), range(kernel))
    )


def counted(module: nn.Module, *shape: int) -> DispatchCount:
    count = DispatchCount()
    with torch.device("meta"), torch.no_grad():
        module, x = module.to("meta"), torch.empty(shape)
        with Trace(count):
            module(x)
    return count


@given(
    *(
        st.integers(1, 12),
        st.integers(1, 12),
        st.integers(1, 7),
        st.integers(1, 4),
        st.integers(0, 9),
        st.integers(1, 5),
    )
)
@settings(max_examples=300, deadline=None)
def test_taps_inside_are_those_counted_one_by_one(
    size: int, places: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    step = (kernel, stride, padding, dilation)
    assert taps_inside(size, places, *step) == one_by_one(size, places, *step)


@pytest.mark.parametrize(
    ("arguments", "shape", "kind"),
    [
        ({"kernel_size": 3, "padding": 1}, (2, 6, 9, 7), "convolution"),
        (
            {"kernel_size": (3, 5), "stride": (2, 3), "padding": (2, 0), "dilation": (2, 1)},
            (1, 6, 17, 13),
            "convolution",
        ),
        ({"kernel_size": 3, "padding": 1, "groups": 2}, (1, 6, 8, 8), "grouped"),
        ({"kernel_size": 1}, (3, 6, 5, 4), "pointwise"),
        ({"kernel_size": 1, "groups": 2}, (3, 6, 5, 4), "pointwise"),
        ({"kernel_size": 1, "padding": 1, "stride": 2}, (1, 6, 5, 4), "pointwise"),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_executes_what_reads_ones_count(
    arguments: dict[str, object], shape: tuple[int, ...], kind: str, transposed: bool
) -> None:
    """With weights and inputs of one, the sum of the outputs is the number of taps inside the map."""
    made = (nn.ConvTranspose2d if transposed else nn.Conv2d)(6, 4, bias=False, **arguments)  # type: ignore[arg-type]
    with torch.no_grad():
        made.weight.fill_(1.0)
        executed = made.double()(torch.ones(shape, dtype=torch.float64)).sum().item()
    count = counted(made, *shape)
    assert dict(count.executed) == {kind: executed}
    assert dict(count.by_class) == {kind: count.macs}
    assert count.macs >= executed


def test_one_and_three_axes_are_counted_too() -> None:
    assert dict(counted(nn.Conv1d(2, 3, 3, padding=1), 1, 2, 10).executed) == {"convolution": 2 * 3 * 28}
    assert dict(counted(nn.Conv3d(2, 3, 3, padding=1), 1, 2, 4, 5, 6).executed) == {"convolution": 6 * 10 * 13 * 16}


def test_two_thirds_of_the_taps_of_dilated_branches_fall_outside_a_small_map() -> None:
    """ASPP at 32x32 with rates 12, 24 and 36: 8.31 of 27 taps a position are inside."""
    found = trace_figures(make_case("aspp", {}, 32, 32, 256))
    inside = found.executed_macs_by_class["convolution"] / found.macs_by_class["convolution"]
    assert 27 * inside == pytest.approx(8.3125, abs=1e-4)
    axis = {rate: one_by_one(32, 32, 3, 1, rate, rate) for rate in (12, 24, 36)}
    assert inside == sum(taps**2 for taps in axis.values()) / (27 * 32 * 32)
    assert found.executed_macs_by_class["pointwise"] == found.macs_by_class["pointwise"]


D = C // 2
CLOSED = {
    "identity": {},
    "nl": {"pointwise": 4 * N * C * D, "product": 2 * N * N * D},
    "nl:mode=gaussian": {"pointwise": 2 * N * C * D, "product": N * N * (C + D)},
    "cam": {"product": 2 * N * C * C},
    "pam": {"pointwise": N * C * (2 * (C // 8) + C), "product": N * N * (C // 8 + C)},
    "cgnl": {"pointwise": 3 * N * C * D + N * C * D // 8, "product": 2 * N * D},
    "ldv1": {"grouped": 9 * C * (7 * 11 + 3 * 5 + 1 * 2)},
}


@pytest.mark.parametrize("label", CLOSED)
def test_classes_follow_from_the_block(label: str) -> None:
    entry, _, spelled = label.partition(":")
    found = figures(entry, **dict(item.split("=") for item in spelled.split(",")) if spelled else {})
    assert found.macs_by_class == dict(sorted(CLOSED[label].items()))
    assert found.executed_macs_by_class == found.macs_by_class


@pytest.mark.parametrize("name", sorted(registry.names()))
@pytest.mark.parametrize("mode", ["forward", "train"])
def test_classes_add_up_to_the_multiply_adds_of_the_forward_pass(name: str, mode: str) -> None:
    if registry.describe(name).family in ("network", "backbone") and mode == "train":
        pytest.skip("the forward pass is the same and takes long to trace twice")
    case = make_case(name, {}, 32, 32, 64, batch=2, mode=mode)
    found = trace_figures(case)
    assert sum(found.macs_by_class.values()) == found.macs == found.macs_torch
    assert set(found.macs_by_class) <= set(CLASSES)
    assert set(found.executed_macs_by_class) == set(found.macs_by_class)
    assert all(found.executed_macs_by_class[kind] <= macs for kind, macs in found.macs_by_class.items())
