"""Peak memory of one call, in a pass of its own: read from PyTorch's allocator, on CUDA and on a CPU."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, kineto_available, profile

_EVENT = "[memory]"
_MARK = 64


@dataclass(frozen=True)
class CudaPeak:
    """Bytes above the resident baseline (weights, inputs, and whatever else the process holds).

    Attributes:
        allocated: `max_memory_allocated` over the call, less what was allocated before it.
        reserved: the same of memory reserved by the caching allocator, emptied before the call.
    """

    allocated: int
    reserved: int


@dataclass(frozen=True)
class CpuPeak:
    """Bytes above what was alive before the call.

    Attributes:
        allocated: the most that PyTorch's CPU allocator had handed out at once, kernel workspace included; null where
            that cannot be read.
        reason: why it is null.
    """

    allocated: int | None
    reason: str | None = None


def cuda_peak(call: Callable[[], object]) -> CudaPeak:
    """Run `call` once and read how far memory rose; peaks are reset first. Untimed."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    call()
    torch.cuda.synchronize()
    return CudaPeak(
        allocated=torch.cuda.max_memory_allocated() - allocated,
        reserved=torch.cuda.max_memory_reserved() - reserved,
    )


def cpu_peak(call: Callable[[], object]) -> CpuPeak:
    """Run `call` once and follow what the CPU allocator reports to the profiler, allocation by allocation. Untimed.

    A small allocation ahead of the call must show up first; otherwise the profiler does not see the allocator, and no
    figure is given.
    """
    if not kineto_available():
        return CpuPeak(None, "PyTorch was built without the profiler that reports allocations")
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        torch.empty(_MARK, dtype=torch.uint8)
        call()
    changes = _changes(profiler)
    if changes[:2] != [_MARK, -_MARK]:
        return CpuPeak(None, "PyTorch's profiler does not report this allocator")
    live = peak = 0
    for change in changes[2:]:
        live += change
        peak = max(peak, live)
    return CpuPeak(peak)


def _changes(profiler: Any) -> list[int]:
    """Bytes that each allocation took, or with a minus each release gave back, in order of time; none where this
    version of PyTorch does not hand them out."""
    results = getattr(getattr(profiler, "profiler", None), "kineto_results", None)
    events = [event for event in results.events() if event.name() == _EVENT] if results is not None else []
    found = [event for event in events if event.device_type().name == "CPU"]
    return [int(event.nbytes()) for event in sorted(found, key=lambda event: event.start_ns())]
