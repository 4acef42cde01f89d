"""Work of known size: a matrix product and a copy, and the counters of multiply-adds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.measure.clock import Clock
from bench.measure.machine import FOOTPRINTS_MIB, SECONDS, Pace, copy, product
from bench.selftest.line import Line
from bench.static.flops import DispatchCount, count_with_fvcore
from bench.static.trace import Trace

PRODUCT, COPY, COUNTERS = "matrix product", "copy", "multiply-adds"
M, N, K = 96, 160, 224
_UNSTEADY = 0.25


def multiply(name: str, device: str, clock: Clock, free_bytes: int, seconds: float = SECONDS) -> Line:
    """The rate of a large matrix product; calls that differ by more than 25 % are a warning."""
    pace = product(name, device, clock, seconds, free_bytes)
    size = f"{pace.size} a side, {pace.work / 2e9:.4g} GMACs"
    rate = f"{pace.rate / 1e12:.3g} TFLOP/s"
    return _line(f"{PRODUCT} {name}", rate, size, pace, "a flat ceiling of the roofline, two FLOPs a multiply-add")


def move(device: str, clock: Clock, free_bytes: int, seconds: float = SECONDS) -> Line:
    """The rate of a large copy; calls that differ by more than 25 % are a warning."""
    fits = [mib for mib in FOOTPRINTS_MIB if mib * 2**20 <= free_bytes / 4] or [FOOTPRINTS_MIB[0]]
    pace = copy(device, clock, seconds, fits[-1])
    size = f"{pace.size / 2**20:.0f} MiB, read and written"
    return _line(COPY, f"{pace.rate / 1e9:.3g} GB/s", size, pace, "the slope of the roofline for large maps")


def _line(name: str, rate: str, size: str, pace: Pace, meaning: str) -> Line:
    behind = pace.median_ms / pace.fastest_ms - 1
    spread = f"the fastest of {pace.calls} calls {pace.fastest_ms:.3g} ms, the median {behind:.0%} longer"
    steady = behind <= _UNSTEADY
    said = meaning if steady else f"{meaning}; calls of the same work differ, so something else uses the machine"
    return Line(name, "pass" if steady else "warn", f"{rate} ({size}; {spread})", said)


def by_dispatch() -> int:
    """What the dispatch counter makes of a product (M,K) x (K,N) on meta tensors."""
    count = DispatchCount()
    left, right = torch.empty(M, K, device="meta"), torch.empty(K, N, device="meta")
    with Trace(count):
        torch.mm(left, right)
    return count.macs


def by_fvcore() -> int:
    """What fvcore makes of the same product as a linear layer, which it runs."""
    inputs: tuple[Tensor, ...] = (torch.zeros(M, K),)
    return count_with_fvcore(nn.Linear(K, N, bias=False), inputs).macs


def counters(ours: Callable[[], int] = by_dispatch, other: Callable[[], int] = by_fvcore) -> Line:
    """Both counters on a product of known size: anything but M x N x K is false."""
    true, counted, again = M * N * K, ours(), other()
    figure = f"({M},{K}) x ({K},{N}) is {true:,}; counted {counted:,} by dispatch, {again:,} by fvcore"
    return Line(COUNTERS, "pass" if counted == again == true else "fail", figure, "MACs in tables are exact counts")
