"""The CUDA clock and the peak pass on a fake device that writes down what is asked of it."""

from __future__ import annotations

import pytest
import torch

from bench.measure.clock import CudaClock, HostClock, clock_for
from bench.measure.peak import cuda_peak


class FakeCuda:
    """Replaces the parts of `torch.cuda` that are called; every call of a block takes 3 ms of device time."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.device_ms = 0.0
        self.allocated, self.peak = 1000, 9999
        self.reserved, self.peak_reserved = 4096, 9999

    def call(self) -> None:
        self.log.append("call")
        self.device_ms += 3.0
        self.peak = max(self.peak, self.allocated + 500)
        self.peak_reserved = max(self.peak_reserved, self.reserved + 2048)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        fake = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                fake.log.append("record")
                self.at = fake.device_ms

            def synchronize(self) -> None:
                fake.log.append("wait")

            def elapsed_time(self, end: Event) -> float:
                return end.at - self.at

        def reset() -> None:
            self.log.append("reset")
            self.peak, self.peak_reserved = self.allocated, self.reserved

        for name, value in {
            "Event": Event,
            "synchronize": lambda: self.log.append("synchronize"),
            "empty_cache": lambda: self.log.append("empty cache"),
            "reset_peak_memory_stats": reset,
            "memory_allocated": lambda: self.allocated,
            "memory_reserved": lambda: self.reserved,
            "max_memory_allocated": lambda: self.peak,
            "max_memory_reserved": lambda: self.peak_reserved,
        }.items():
            patch.setattr(torch.cuda, name, value)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    cuda = FakeCuda()
    cuda.install(monkeypatch)
    return cuda


def test_nothing_but_the_calls_lies_between_the_events(fake: FakeCuda) -> None:
    assert CudaClock().time(fake.call, repeats=4) == 3.0
    assert fake.log == ["synchronize", "record", *["call"] * 4, "record", "wait"]


def test_peaks_are_reset_and_read_above_the_baseline(fake: FakeCuda) -> None:
    peak = cuda_peak(fake.call)
    assert (peak.allocated, peak.reserved) == (500, 2048)
    assert fake.log == ["synchronize", "empty cache", "reset", "call", "synchronize"]


def test_each_device_has_its_clock(fake: FakeCuda) -> None:
    assert isinstance(clock_for("cuda"), CudaClock)
    assert isinstance(clock_for("cpu"), HostClock)


def test_the_host_clock_times_the_calls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([1_000_000, 7_000_000])
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(ticks))
    calls: list[int] = []
    assert HostClock().time(lambda: calls.append(1), repeats=3) == 2.0
    assert len(calls) == 3
