"""Allocations of known size as every kind of peak sees them, and whether the host keeps freed memory."""

from __future__ import annotations

import resource
from collections.abc import Callable

import torch

from bench.measure.allocator import retain_host_memory
from bench.measure.peak import CpuPeak, CudaPeak, cpu_peak, cuda_peak
from bench.selftest.line import Line, unverified
from bench.static.memory import ALLOCATION_BYTES, LiveStorage
from bench.static.trace import Trace

TRACED, CUDA, CPU, HOST = "traced peak", "CUDA peak", "CPU peak", "host memory"
LARGE, SMALL = 32 * 2**20, 100_001
BLOCK = 2 * 2**20
EXPECTED = LARGE + -(-SMALL // ALLOCATION_BYTES) * ALLOCATION_BYTES
_TRACED_MEANS = "peak MiB in tables are exact, to the 512 bytes that an allocation is rounded to"
_CUDA_MEANS = "CUDA peaks in tables are what PyTorch's allocator handed out"
_CPU_MEANS = "CPU peaks in tables are what PyTorch's allocator handed out"
_HOST_MEANS = "memory that a call gave back is there for the next one, so that a time does not depend on who ran before"
_HOST_BYTES = 64 * 2**20
_TIMES = 4


def allocate(device: str) -> None:
    """Hold 32 MiB and 100,001 bytes at once, after another 32 MiB that is gone by then."""
    first = torch.empty(LARGE, dtype=torch.uint8, device=device)
    del first
    both = torch.empty(LARGE, dtype=torch.uint8, device=device), torch.empty(SMALL, dtype=torch.uint8, device=device)
    del both


def by_trace() -> int:
    """The traced peak of `allocate`."""
    live = LiveStorage()
    with Trace(live):
        allocate("meta")
    return live.peak_bytes


def traced(peak: Callable[[], int] = by_trace) -> Line:
    """The traced peak of two allocations of known size; any other figure is false."""
    read = peak()
    figure = f"{EXPECTED:,} bytes alive at once, {read:,} traced"
    return Line(TRACED, "pass" if read == EXPECTED else "fail", figure, _TRACED_MEANS)


def on_card(device: str, peak: Callable[[Callable[[], object]], CudaPeak] = cuda_peak) -> Line:
    """The CUDA peak of the same: false below it or 2 MiB above it, a warning where the allocator rounds its own way."""
    if device != "cuda":
        return unverified(CUDA, "not a CUDA device", _CUDA_MEANS)
    read = peak(lambda: allocate("cuda"))
    over = read.allocated - EXPECTED
    figure = f"{EXPECTED:,} bytes alive at once, {read.allocated:,} read, {read.reserved:,} reserved"
    if over < 0 or over > BLOCK or read.reserved < read.allocated:
        return Line(CUDA, "fail", figure, _CUDA_MEANS)
    if over or read.reserved % BLOCK:
        return Line(CUDA, "warn", f"{figure}; the allocator is set to round otherwise", _CUDA_MEANS)
    return Line(CUDA, "pass", figure, _CUDA_MEANS)


def on_cpu(peak: Callable[[Callable[[], object]], CpuPeak] = cpu_peak) -> Line:
    """The CPU peak of the same, which the allocator does not round: any other figure is false."""
    read = peak(lambda: allocate("cpu"))
    if read.allocated is None:
        return unverified(CPU, read.reason or "not read", _CPU_MEANS)
    figure = f"{LARGE + SMALL:,} bytes alive at once, {read.allocated:,} read"
    return Line(CPU, "pass" if read.allocated == LARGE + SMALL else "fail", figure, _CPU_MEANS)


def page_faults() -> int:
    """Pages that the system had to find while 64 MiB were allocated and filled again, at the best of several times.

    The first times may find that small allocations have come to lie behind the gap, which then is a little too small.
    """
    found = []
    for _ in range(_TIMES):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(_HOST_BYTES, dtype=torch.uint8)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(found[1:])


def host(retain: Callable[[], str] = retain_host_memory, faults: Callable[[], int] = page_faults) -> Line:
    """Whether memory freed on the host is kept: more than 1 % of the pages found anew is a warning."""
    said, found = retain(), faults()
    pages = _HOST_BYTES // resource.getpagesize()
    figure = f"{said}; {found} page faults when 64 MiB ({pages} pages) are taken again"
    if "retained" not in said and found <= pages / 100:
        return unverified(HOST, f"no setting known for this C library ({figure})", _HOST_MEANS)
    return Line(HOST, "pass" if found <= pages / 100 else "warn", figure, _HOST_MEANS)
