"""Launches: counted by hand from what a block's forward says, and no view or empty tensor among them."""

from __future__ import annotations

import pytest
import torch

from bench.case import make_case
from bench.static import trace_figures
from bench.static.launches import Launches
from bench.static.trace import Trace

BY_HAND = {
    "identity": [],
    "snl": ["key", "softmax", "weighted sum", "value", "add"],
    "gc": ["key", "softmax", "weighted sum", "down", "norm", "relu", "up", "add"],
    "se": ["mean", "down", "norm", "relu", "up", "sigmoid", "multiply"],
    "nl": ["theta", "phi", "g", "affinity", "softmax", "weighted sum", "copy", "out", "add"],
    "bilinear": ["upsample"],
}
BACKWARD = {
    # of x + context the sum over positions; a convolution is one operator for input, weight and bias; the weighted sum
    # has two products; x, used three times, adds its gradients twice
    "snl": ["sum", "value", "to map", "to weights", "add", "softmax", "key", "add"],
    # out, the products' four operands, softmax, three projections; x, used four times, adds three times
    "nl": ["out", "g'", "weights'", "softmax", "theta'", "phi'", "theta", "phi", "g", "add", "add", "add"],
    "bilinear": ["upsample"],
}


@pytest.mark.parametrize(("entry", "operators"), BY_HAND.items())
def test_a_forward_pass_launches_what_its_equation_has(entry: str, operators: list[str]) -> None:
    assert trace_figures(make_case(entry, {}, 8, 8, 16)).launches == len(operators)


@pytest.mark.parametrize(("entry", "operators"), BACKWARD.items())
def test_training_launches_the_backward_pass_too(entry: str, operators: list[str]) -> None:
    found = trace_figures(make_case(entry, {}, 8, 8, 16, mode="train")).launches
    assert found == len(BY_HAND[entry]) + len(operators)


def test_neither_the_size_nor_the_batch_matters() -> None:
    found = {trace_figures(make_case("gc", {}, side, side, 64, batch=b)).launches for side in (4, 64) for b in (1, 8)}
    assert found == {len(BY_HAND["gc"])}


def test_views_allocations_and_empty_tensors_launch_nothing() -> None:
    launches = Launches()
    map_BCHW = torch.empty(2, 3, 4, 4, device="meta")
    with Trace(launches):
        map_BCHW.flatten(2).transpose(1, 2)[:, 1:].detach().split(3)
        map_BCHW.expand(5, 2, 3, 4, 4).unsqueeze(0)
        map_BCHW.new_empty(7)
        torch.empty_like(map_BCHW)
        map_BCHW[:, :0] * 2
    assert launches.count == 0


def test_copies_fills_and_work_in_place_launch() -> None:
    launches = Launches()
    map_BCHW = torch.empty(2, 3, 4, 4, device="meta")
    with Trace(launches):
        map_BCHW.transpose(2, 3).contiguous()
        map_BCHW.new_zeros(7)
        map_BCHW.relu_()
    assert launches.count == 3
