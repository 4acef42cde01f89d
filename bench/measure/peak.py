"""CUDA peak memory of one call, in a pass of its own."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class CudaPeak:
    """Bytes above the resident baseline (weights, inputs, and whatever else the process holds).

    Attributes:
        allocated: `max_memory_allocated` over the call, less what was allocated before it.
        reserved: the same of memory reserved by the caching allocator, emptied before the call.
    """

    allocated: int
    reserved: int


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
