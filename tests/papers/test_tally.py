"""Every operator that some convention counts, one at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.papers.tally import Call, Tally
from bench.static.memory import LiveStorage
from bench.static.trace import Trace
from tests.papers.nets import Function, Siamese, tally_of


def cudnn_norm(x: Tensor) -> Tensor:
    ones = x.new_ones(x.shape[1])
    return torch.ops.aten.cudnn_batch_norm(x, ones, ones, ones, ones, True, 0.1, 1e-5)[0]


@pytest.mark.parametrize(
    ("module", "shape", "call"),
    [
        (nn.Conv1d(4, 6, 3), (2, 4, 9), Call("convolution", "", "weight", 2 * 7 * 6 * 4 * 3, 84, 84)),
        (nn.Conv2d(4, 6, 1, groups=2), (1, 4, 5, 5), Call("convolution", "", "weight", 25 * 6 * 2, 150, 150)),
        (nn.Conv3d(4, 6, 1, bias=False), (1, 4, 2, 5, 5), Call("convolution", "", "weight", 50 * 24, 300, 0)),
        (nn.ConvTranspose2d(4, 6, 2, 2), (1, 4, 5, 5), Call("convolution", "", "weight", 2400, 600, 600, 7200)),
        (nn.Linear(4, 6), (3, 4), Call("matmul", "", "weight", 72, 18, 0)),
        (nn.Linear(4, 6, bias=False), (2, 3, 4), Call("matmul", "", "weight", 144, 36, 0)),
        (Function(lambda x: x @ x.transpose(1, 2)), (2, 3, 4), Call("matmul", "", None, 72, 18, 0)),
        (Function(lambda x: torch.mv(x, x[0])), (3, 4), Call("matmul", "", None, 12, 3, 0)),
        (nn.BatchNorm2d(4), (2, 4, 5, 5), Call("batch_norm", "", "weight", 0, 200, 0)),
        (nn.BatchNorm1d(4), (2, 4, 5), Call("batch_norm", "", "weight", 0, 40, 0)),
        (nn.BatchNorm3d(4, affine=False), (2, 4, 3, 5, 5), Call("batch_norm", "", None, 0, 600, 0)),
        (nn.BatchNorm2d(4, track_running_stats=False), (2, 4, 5, 5), Call("batch_norm", "", "weight", 0, 200, 0)),
        (Function(cudnn_norm), (2, 4, 5, 5), Call("batch_norm", "", None, 0, 200, 0)),
        (nn.ReLU(), (2, 4), Call("relu", "", None, 0, 8, 0)),
        (nn.ReLU(inplace=True), (2, 4), Call("relu", "", None, 0, 8, 0)),
        (nn.MaxPool1d(2), (2, 4, 8), Call("pool", "", None, 0, 64, 0, 0, 32)),
        (nn.MaxPool2d(2), (2, 4, 8, 8), Call("pool", "", None, 0, 512, 0, 0, 128)),
        (nn.MaxPool3d(2), (2, 4, 2, 8, 8), Call("pool", "", None, 0, 1024, 0, 0, 128)),
        (nn.AvgPool2d(2), (2, 4, 8, 8), Call("pool", "", None, 0, 512, 0, 0, 128)),
        (nn.AvgPool3d(2), (2, 4, 2, 8, 8), Call("pool", "", None, 0, 1024, 0, 0, 128)),
        (nn.AdaptiveAvgPool2d(3), (2, 4, 8, 8), Call("pool", "", None, 0, 512, 0, 0, 72)),
        (nn.AdaptiveAvgPool2d(1), (2, 4, 8, 8), Call("pool", "", None, 0, 512, 0, 0, 8)),
        (nn.AdaptiveAvgPool3d(2), (2, 4, 2, 8, 8), Call("pool", "", None, 0, 1024, 0, 0, 64)),
        (nn.AdaptiveAvgPool3d(1), (2, 4, 2, 8, 8), Call("pool", "", None, 0, 1024, 0, 0, 8)),
        (nn.AdaptiveMaxPool2d(3), (2, 4, 8, 8), Call("pool", "", None, 0, 512, 0, 0, 72)),
        (Function(lambda x: x.mean((2, 3))), (2, 4, 8, 8), Call("pool", "", None, 0, 512, 0, 0, 8)),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
@pytest.mark.parametrize("train", [False, True])
def test_one_operator_is_one_call(module: nn.Module, shape: tuple[int, ...], call: Call, train: bool) -> None:
    assert tally_of(module, *shape, train=train).calls == [call]


@pytest.mark.parametrize("dims", [None, (1,), (3,), (1, 2, 3), (0, 2, 3), (-2,)])
def test_other_means_are_no_pooling(dims: tuple[int, ...] | None) -> None:
    assert tally_of(Function(lambda x: x.mean(dims)), 2, 4, 8, 8).calls == []


@pytest.mark.parametrize(
    "function", [torch.sigmoid, lambda x: x.softmax(1), lambda x: functional.layer_norm(x, x.shape[1:])]
)
def test_what_no_convention_counts_leaves_no_call(function: Callable[[Tensor], Tensor]) -> None:
    assert tally_of(Function(function), 2, 4, 8, 8).calls == []


def test_calls_say_which_module_made_them() -> None:
    tally = tally_of(Siamese(nn.Conv2d(4, 3, 1)), 1, 4, 5, 5)
    assert [call.module for call in tally.calls] == ["project.0", "project.0", "", ""]
    assert [call.weight for call in tally.calls] == ["project.0.weight", "project.0.weight", None, None]


def test_a_watched_module_is_left_as_it_was() -> None:
    module = Siamese(nn.Conv2d(4, 3, 1))
    tally_of(module, 1, 4, 5, 5)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    with pytest.raises(RuntimeError):
        tally_of(module, 1, 5, 5, 5)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_tally_keeps_nothing_alive() -> None:
    module, live, tally = nn.Sequential(*(nn.ReLU() for _ in range(9))), LiveStorage(), Tally()
    with torch.no_grad(), tally.watch(module), Trace(live, tally):
        module(torch.empty(128, device="meta"))
    assert len(tally.calls) == 9
    assert (live.peak_bytes, live.live_bytes) == (3 * 512, 0)
