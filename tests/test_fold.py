"""Folding of batch norms: which go, which must stay, what a row of a folded case says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import bench.fold
from bench.agreement import agree_folded
from bench.case import make_case
from bench.fold import fold, folded, pairs
from bench.measure.clock import HostClock
from bench.measure.method import Method
from bench.plan import PlannedGroup, judge, trace_case
from bench.report.machine import Machine
from bench.session import Request
from bench.static import trace_figures
from bench.suite import load_suite
from bench.trial import measure_group
from bench.workload import FalseOutput, build

CASE = make_case("ldv2", {}, 6, 6, 16)
QUICK = Method(fold=1, seconds=0.0, warm_seconds=0.0, sample_ms=0.0, energy_seconds=0.0)
Forward = Callable[[nn.Module, Tensor], object]


class Block(nn.Module):
    """A convolution `conv`, a batch norm `norm`, and what is done with them."""

    def __init__(self, forward: Forward, conv: nn.Module | None = None, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.norm = conv or nn.Conv2d(4, 4, 3, padding=1), norm or nn.BatchNorm2d(4)
        self._do = forward
        self.eval()

    def forward(self, x: Tensor) -> object:
        return self._do(self, x)


def plain(block: nn.Module, x: Tensor) -> Tensor:
    return torch.relu_(block.norm(block.conv(x)))


def beside(block: nn.Module, x: Tensor) -> Tensor:
    y = block.conv(x)
    return block.norm(y) + y


def returned(block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    y = block.conv(x)
    return block.norm(y), y


def changed(block: nn.Module, x: Tensor) -> Tensor:
    return block.norm(block.conv(x).mul_(2))


def viewed(block: nn.Module, x: Tensor) -> Tensor:
    y = block.conv(x)
    return block.norm(y) + y[:, :1]


def twice(block: nn.Module, x: Tensor) -> Tensor:
    return block.norm(block.conv(block.conv(x)))


def normed_twice(block: nn.Module, x: Tensor) -> Tensor:
    return block.norm(block.norm(block.conv(x)))


def weighed(block: nn.Module, x: Tensor) -> Tensor:
    return block.norm(block.conv(x)) * block.conv.weight.mean()


def scaled(block: nn.Module, x: Tensor) -> Tensor:
    return block.norm(block.conv(x)) * block.norm.bias.mean()


def hooked(forward: Forward) -> Block:
    block = Block(forward)
    block.conv.register_forward_hook(lambda module, inputs, output: output * 2)
    return block


def in_two_places(forward: Forward) -> Block:
    block = Block(forward)
    block.again = block.norm
    return block


def draw(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.3)


@pytest.mark.parametrize(
    ("conv", "norm", "shape"),
    [
        (nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4), (2, 4, 5, 6)),
        (nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6, affine=False), (1, 4, 5, 6)),
        (nn.Conv1d(4, 3, 2), nn.BatchNorm1d(3), (2, 4, 5)),
        (nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3), (1, 2, 3, 4, 5)),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), nn.BatchNorm2d(6), (1, 4, 3, 3)),
    ],
)
def test_a_norm_goes_into_the_convolution_ahead_of_it(conv: nn.Module, norm: nn.Module, shape: tuple[int, ...]) -> None:
    block, x = Block(plain, conv, norm), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    draw(block)
    assert pairs(block, (x,)) == (("conv", "norm"),)
    with torch.no_grad():
        before = block(x)
        fold(block, "conv", "norm")
        torch.testing.assert_close(block(x), before)
    assert isinstance(block.norm, nn.Identity)
    assert all(parameter.requires_grad for parameter in block.parameters())
    assert pairs(block, (x,)) == ()


@pytest.mark.parametrize(
    "block",
    [
        *(Block(forward) for forward in (beside, returned, changed, viewed, twice, normed_twice, weighed, scaled)),
        hooked(plain),
        in_two_places(plain),
        Block(plain, nn.ConvTranspose2d(4, 4, 1, groups=2)),
        Block(plain, norm=nn.BatchNorm2d(4, track_running_stats=False)),
        Block(plain, norm=nn.GroupNorm(2, 4)),
        Block(lambda block, x: block.norm(torch.relu(block.conv(x)))),
    ],
)
def test_a_norm_stays_where_its_fold_could_be_seen_elsewhere(block: Block) -> None:
    assert pairs(block, (torch.randn(1, 4, 5, 5),)) == ()


def test_a_norm_in_training_stays() -> None:
    block = Block(plain)
    block.norm.train()
    assert pairs(block, (torch.randn(1, 4, 5, 5),)) == ()


@pytest.mark.parametrize("entry", ["ldv2", "psp"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_folded_block_computes_what_it_did(entry: str, dtype: str) -> None:
    work = build(make_case(entry, {}, 6, 6, 16, dtype=dtype, memory_format="channels_last"))
    assert agree_folded(work) == "6x6"
    norms = [part for part in work.module.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms
    left = [part for part in folded(work).module.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(left) < len(norms)


def test_a_fold_that_is_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.fold, "_fused", lambda conv, norm: conv)
    with pytest.raises(FalseOutput, match=r"folded, output differs by .* at 6x6, more than 1e-05 \(fp32\)"):
        agree_folded(build(CASE))


def test_static_figures_are_those_of_the_folded_module_and_others_stay() -> None:
    before, after = trace_figures(CASE), trace_figures(CASE, fold=True)
    params = sum(parameter.numel() for parameter in folded(build(CASE)).module.parameters())
    assert (after.params, after.macs) == (params, before.macs)
    assert after.params < before.params
    assert after.traffic_bytes < before.traffic_bytes
    assert trace_figures(CASE) == before


def test_in_train_mode_a_folded_case_is_unsupported() -> None:
    tracing = trace_case(dataclasses.replace(CASE, mode="train"), fold=True)
    assert (tracing.figures, tracing.status) == (None, "unsupported")
    assert "forward mode only" in str(tracing.reason)


@pytest.mark.parametrize("impl", ["reference", "fused"])
def test_what_is_timed_and_told_is_the_folded_block(impl: str) -> None:
    case = dataclasses.replace(CASE, impl=impl)
    verdict = judge(case, load_suite("quick"), None, trace_case(case, fold=True))
    result = measure_group(PlannedGroup((verdict,), None), QUICK, HostClock())
    fields, figures = result.fields[case.name], result.figures[case.name]
    assert (fields["status"], fields["checked_at"]) == ("ok", "6x6")
    assert figures is not None
    assert figures.params == trace_figures(case, fold=True).params < trace_figures(case).params
    assert figures.macs_fvcore in (figures.macs, None)


def test_a_request_repeats_the_word_and_a_report_says_it() -> None:
    request = Request("quick", {}, settings={"fold": 1})
    assert request.command()[-1] == "--fold"
    assert request.resolve().method.fold == 1
    assert "folded" in " ".join(Machine({"method_settings.fold": 1}).choices())
    assert Machine({"method_settings.fold": 0}).choices() == []
