"""A probe that tells an invented story of the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.measure.nvml import CardReading
from bench.measure.telemetry import Reading

CALM = Reading(CardReading(1500.0, 2600.0, 50.0, 300.0, (), 0))


def card(**changes: object) -> Reading:
    """A calm card with something changed."""
    calm = {"sm_clock_mhz": 1500.0, "memory_clock_mhz": 2600.0, "temperature_c": 50.0, "power_w": 300.0}
    return Reading(CardReading(**{**calm, "throttle": (), "foreign_processes": 0, **changes}))


class FakeProbe:
    """Gives its readings one after the other, the last one for ever."""

    def __init__(
        self,
        readings: Sequence[Reading] = (CALM,),
        energy: Callable[[], tuple[float | None, str | None]] = lambda: (None, None),
        watch: Callable[[], object] = lambda: None,
    ) -> None:
        self.readings, self.energy_mj, self.watch = readings, energy, watch
        self.reads = 0

    def read(self) -> Reading:
        self.watch()
        self.reads += 1
        return self.readings[min(self.reads, len(self.readings)) - 1]
