"""The CPU peak: allocations of known size, blocks whose kernels keep workspace, and an allocator that is not seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bench.case import make_case
from bench.measure import peak
from bench.measure.peak import cpu_peak
from bench.static.figures import trace_figures
from bench.workload import build

MIB = 2**20


def mebibytes(count: int) -> torch.Tensor:
    return torch.empty(count * MIB, dtype=torch.uint8)


class Scratch(nn.Module):
    """Doubles its input, which takes 1 MiB, beside a workspace of 8 MiB that is gone when it returns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        workspace = mebibytes(8)
        doubled = x + x
        del workspace
        return doubled


def test_the_peak_is_what_was_alive_at_once_and_no_sum() -> None:
    def call() -> None:
        first = mebibytes(32)
        del first
        both = mebibytes(20), mebibytes(3)
        del both
        mebibytes(5)

    assert cpu_peak(call).allocated == 32 * MIB


def test_what_lives_before_the_call_is_not_counted_not_even_where_the_call_frees_it() -> None:
    held = [mebibytes(16)]

    def call() -> None:
        held.clear()
        mebibytes(4)

    assert cpu_peak(call).allocated == 4 * MIB


def test_workspace_counts_in_a_forward_and_in_a_training_step() -> None:
    block, x = Scratch(), torch.ones(MIB // 4)
    assert cpu_peak(lambda: block(x)).allocated == 9 * MIB
    x.requires_grad_()

    def step() -> None:
        y = block(x)
        torch.autograd.grad(y, x, torch.ones_like(y))

    assert cpu_peak(step).allocated == 9 * MIB


def test_a_call_that_allocates_nothing_has_a_peak_of_zero() -> None:
    found = cpu_peak(lambda: None)
    assert (found.allocated, found.reason) == (0, None)


@pytest.mark.parametrize(("mode", "batch"), [("forward", 1), ("train", 2)])
def test_dilated_convolutions_keep_workspace_that_no_trace_sees(mode: str, batch: int) -> None:
    case = make_case("aspp", {}, 32, 32, 256, mode=mode, batch=batch)
    work = build(case)
    work.call()
    measured = cpu_peak(work.call).allocated
    assert measured is not None
    assert measured > 1.05 * trace_figures(case).traced_peak_bytes


@pytest.mark.parametrize("mode", ["forward", "train"])
def test_every_call_of_a_block_has_the_same_peak(mode: str) -> None:
    work = build(make_case("apnb", {}, 16, 16, 64, mode=mode))
    work.call()
    assert len({cpu_peak(work.call).allocated for _ in range(3)}) == 1


def test_an_allocator_that_the_profiler_does_not_see_gives_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_changes", lambda profiler: [])
    found = cpu_peak(lambda: mebibytes(1))
    assert (found.allocated, found.reason) == (None, "PyTorch's profiler does not report this allocator")


def test_a_pytorch_without_the_profiler_gives_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "kineto_available", lambda: False)
    found = cpu_peak(lambda: mebibytes(1))
    assert (found.allocated, found.reason) == (
        None,
        "PyTorch was built without the profiler that reports allocations",
    )


def test_a_call_that_fails_fails_here_too() -> None:
    def call() -> Any:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        cpu_peak(call)
    assert cpu_peak(lambda: mebibytes(2)).allocated == 2 * MIB
