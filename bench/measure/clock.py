"""Clocks: one interface, host time for the CPU and CUDA events for CUDA, never mixed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch

Call = Callable[[], object]


class Clock(Protocol):
    """Times calls on one device."""

    def time(self, call: Call, repeats: int = 1) -> float:
        """Milliseconds a call, over `repeats` calls in a row; nothing else is inside the timed region."""

    def now(self) -> float:
        """Seconds of host time, for budgets only."""

    def pause(self, seconds: float) -> None:
        """Let the device stand idle for so long."""


class HostClock:
    """`perf_counter_ns` around the calls: for devices that compute synchronously."""

    def time(self, call: Call, repeats: int = 1) -> float:
        loop = range(repeats)
        start = time.perf_counter_ns()
        for _ in loop:
            call()
        return (time.perf_counter_ns() - start) / repeats / 1e6

    def now(self) -> float:
        return time.perf_counter()

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)


class CudaClock:
    """CUDA events recorded on the current stream around the calls; the device is idle before each sample."""

    def __init__(self) -> None:
        self._start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

    def time(self, call: Call, repeats: int = 1) -> float:
        loop = range(repeats)
        torch.cuda.synchronize()
        self._start.record()
        for _ in loop:
            call()
        self._end.record()
        self._end.synchronize()
        return float(self._start.elapsed_time(self._end)) / repeats

    def now(self) -> float:
        return time.perf_counter()

    def pause(self, seconds: float) -> None:
        torch.cuda.synchronize()
        time.sleep(seconds)


def clock_for(device: str) -> Clock:
    """The clock whose times are true on that device."""
    return CudaClock() if device == "cuda" else HostClock()
