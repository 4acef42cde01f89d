"""What the self-test says of the clocks, of others on the machine and of the disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.measure.host import HostReading
from bench.measure.nvml import CardReading
from bench.selftest import surroundings


def ticks(*seconds: float) -> Callable[[], float]:
    """A clock of CPU time on which loops take these seconds in turn."""
    marks: Iterator[float] = itertools.accumulate(
        itertools.chain.from_iterable((0.0, s) for s in itertools.cycle(seconds))
    )
    return lambda: next(marks)


@pytest.mark.parametrize(
    ("seconds", "governor", "verdict"),
    [
        ((1e-3,), None, "pass"),
        ((1e-3,), "performance", "pass"),
        ((1e-3,), "powersave", "warn"),
        ((1e-3, 1.2e-3), None, "warn"),
        ((0.0,), None, "unverified"),
    ],
)
def test_the_cpu_clock(tmp_path: Path, seconds: tuple[float, ...], governor: str | None, verdict: str) -> None:
    if governor is not None:
        (tmp_path / "cpu0" / "cpufreq").mkdir(parents=True)
        (tmp_path / "cpu0" / "cpufreq" / "scaling_governor").write_text(governor + "\n")
    line = surroundings.cores(tmp_path, ticks(*seconds))
    assert line.verdict == verdict
    assert governor is None or governor in line.figure


class Told:
    """A probe that gives one reading after another, the last one for ever."""

    def __init__(self, *readings: Any) -> None:
        self.left = list(readings)

    def read(self) -> Any:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


@pytest.mark.parametrize(
    ("reading", "verdict"),
    [
        (HostReading(foreign_cpus=0.1, steal=0.0, load_average=0.3), "pass"),
        (HostReading(foreign_cpus=1.0, steal=0.0), "warn"),
        (HostReading(foreign_cpus=0.0, steal=0.05), "warn"),
        (HostReading(missing={"foreign_cpus": "/proc/stat: not there"}), "unverified"),
    ],
)
def test_other_load(reading: HostReading, verdict: str) -> None:
    waited: list[float] = []
    line = surroundings.load(Told(HostReading(foreign_cpus=9.0, steal=0.9), reading), waited.append)
    assert line.verdict == verdict
    assert waited == [1.0]
    assert all(reason in line.figure for reason in reading.missing.values())


@pytest.mark.parametrize(
    ("readings", "verdict", "said"),
    [
        ([CardReading(sm_clock_mhz=1980.0, throttle=())], "pass", "1980 to 1980 MHz"),
        ([CardReading(sm_clock_mhz=1980.0, throttle=("power cap",))], "warn", "held down by power cap"),
        ([CardReading(sm_clock_mhz=1980.0 - 50 * n, throttle=()) for n in range(10)], "warn", "1530 to 1730 MHz"),
        ([CardReading(sm_clock_mhz=345.0, throttle=()), CardReading(sm_clock_mhz=1980.0, throttle=())], "pass", "1980"),
        ([CardReading(sm_clock_mhz=1980.0, missing={"throttle": "no rights"})], "pass", "no rights"),
        ([CardReading(missing={"sm_clock_mhz": "NVML shared library not found"})], "unverified", "library not found"),
    ],
)
def test_the_card_s_clock(readings: list[CardReading], verdict: str, said: str) -> None:
    line = surroundings.card_clock("cuda", Told(*readings), lambda: None, between=0.0)
    assert line.verdict == verdict
    assert said in line.figure


@pytest.mark.parametrize(
    ("reading", "verdict"),
    [
        (CardReading(foreign_processes=0), "pass"),
        (CardReading(foreign_processes=2), "warn"),
        (CardReading(missing={"foreign_processes": "as in a container"}), "unverified"),
    ],
)
def test_others_on_the_card(reading: CardReading, verdict: str) -> None:
    assert surroundings.card_load("cuda", Told(reading)).verdict == verdict


@pytest.mark.parametrize(("free", "verdict"), [(2**31, "pass"), (2**29, "warn")])
def test_room_on_the_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path, free: int, verdict: str) -> None:
    asked: list[Path] = []
    line = surroundings.disk(tmp_path / "results" / "run", lambda place: asked.append(place) or free)  # type: ignore[func-returns-value]
    assert line.verdict == verdict
    assert asked == [tmp_path]


def test_a_folder_that_is_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = surroundings.disk(tmp_path / "file" / "run", lambda place: 2**40)
    assert line.verdict == "warn"
    assert "cannot be written" in line.figure
