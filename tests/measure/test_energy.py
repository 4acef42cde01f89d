"""The energy pass against a counter that steps only ten times a second."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.measure.energy import Energy, energy_per_call

from .fake import FakeClock, constant


class Meter:
    """Counts the energy of calls of known power; what it shows is renewed every 0.1 s."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.total, self.shown, self.period = 500.0, 500.0, 0
        self.reads = 0

    def call(self, milliseconds: float, watts: float) -> Callable[[], tuple[str, float]]:
        def run() -> tuple[str, float]:
            self.total += milliseconds * watts
            return "call", milliseconds

        return run

    def counter(self) -> tuple[float | None, str | None]:
        self.reads += 1
        period = int(self.clock.seconds / 0.1 + 1e-9)
        if period > self.period:
            self.period, self.shown = period, self.total
        return self.shown, None


@pytest.mark.parametrize("milliseconds", [0.05, 0.7, 3.0, 45.0, 700.0])
@pytest.mark.parametrize("watts", [60.0, 700.0])
def test_energy_is_power_times_time_for_short_calls_and_long_ones(milliseconds: float, watts: float) -> None:
    meter = Meter()
    found = energy_per_call(meter.call(milliseconds, watts), milliseconds, meter.clock, meter.counter, 0.3)
    assert found.mj == pytest.approx(milliseconds * watts)
    assert found.reason is None


def test_the_pass_lasts_as_long_as_it_is_told_and_reads_between_batches() -> None:
    meter = Meter()
    energy_per_call(meter.call(0.5, 300.0), 0.5, meter.clock, meter.counter, 0.3)
    assert 0.3 <= meter.clock.seconds <= 0.5
    assert meter.reads == 1 + len(meter.clock.timed)
    assert set(meter.clock.timed) == {("call", 40)}


def test_a_counter_that_stands_still_ends_the_pass() -> None:
    clock = FakeClock()
    found = energy_per_call(constant("call", 5.0), 5.0, clock, lambda: (7.0, None), 0.3)
    assert (found.mj, found.reason) == (None, "the energy counter stood still for 1.0 s")


@pytest.mark.parametrize(("after", "reason"), [((None, "GPU is lost"), "GPU is lost"), ((1.0, None), "went back")])
def test_a_counter_that_fails_on_the_way_gives_no_figure(after: tuple[float | None, str | None], reason: str) -> None:
    readings = iter([(5.0, None), (6.0, None), after])
    found = energy_per_call(constant("call", 5.0), 5.0, FakeClock(), lambda: next(readings), 0.3)
    assert found.mj is None
    assert reason in str(found.reason)


@pytest.mark.parametrize(
    ("counter", "seconds", "reason"),
    [((None, "Not Supported"), 0.3, "Not Supported"), ((None, None), 0.3, None), ((5.0, None), 0.0, "energy_seconds")],
)
def test_without_a_counter_or_without_a_wish_nothing_is_called(
    counter: tuple[float | None, str | None], seconds: float, reason: str | None
) -> None:
    clock = FakeClock()
    found = energy_per_call(constant("call", 5.0), 5.0, clock, lambda: counter, seconds)
    assert found.mj is None
    assert found == Energy(None) if reason is None else reason in str(found.reason)
    assert clock.timed == []
