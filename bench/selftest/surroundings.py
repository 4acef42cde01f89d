"""What is around a measurement: the clock rate of the cores and the card, other load, room on the disk."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

from bench.measure.host import HostProbe, HostReading
from bench.measure.nvml import CardReading, open_nvml
from bench.selftest.line import Line, unverified

CORES, CARD, LOAD, CARD_LOAD, DISK = "CPU clock", "GPU clock", "other load", "other load on the GPU", "disk"
ROOM = 2**30
_LOOPS, _STEADY = 200, 0.05
_OTHERS, _STOLEN = 0.25, 0.01
_LOAD_SECONDS = 1.0
_CARD_READINGS, _BETWEEN_SECONDS = 10, 0.05
_CPUS = Path("/sys/devices/system/cpu")
_CORES_MEANS = "the same work takes the same CPU time; a clock that moves shows up as noise"
_CARD_MEANS = "the card holds its clock under load; one that is held down makes every block slow"
_LOAD_MEANS = "other processes take cores from the one that measures, and its threads wait for each other"
_DISK_MEANS = "every row is synced to disk before the next group begins"


class HostSource(Protocol):
    """Tells of the host, such as `HostProbe`."""

    def read(self) -> HostReading:
        """Its state now."""


class CardSource(Protocol):
    """Tells of a card, such as `Nvml`."""

    def read(self) -> CardReading:
        """Its state now."""


def cores(cpus: Path = _CPUS, cpu_seconds: Callable[[], float] = time.thread_time) -> Line:
    """Whether one loop always takes the same CPU time, and which governor sets the clock.

    A tenth of the loops more than 5 % slower than another tenth is a warning, and so is a governor other than
    `performance`.

    Args:
        cpus: where the kernel tells of CPUs.
        cpu_seconds: CPU time of this thread, which stands still while others have the core.
    """
    times = []
    for _ in range(_LOOPS):
        start = cpu_seconds()
        sum(range(100_000))
        times.append(cpu_seconds() - start)
    if min(times) <= 0:
        return unverified(CORES, "the CPU time of a thread cannot be read finely enough", _CORES_MEANS)
    tenths = statistics.quantiles(times, n=10)
    apart = tenths[-1] / tenths[0] - 1
    governors = sorted({path.read_text().strip() for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")})
    told = f"governor {', '.join(governors)}" if governors else "governor not readable here"
    loop = f"a loop takes {1e3 * tenths[4]:.3g} ms of CPU time, its 10th and 90th percentile {apart:.1%} apart"
    free = any(name != "performance" for name in governors)
    return Line(CORES, "warn" if free or apart > _STEADY else "pass", f"{loop}; {told}", _CORES_MEANS)


def card_clock(
    device: str,
    source: CardSource | None = None,
    work: Callable[[], object] | None = None,
    between: float = _BETWEEN_SECONDS,
) -> Line:
    """The SM clock under load: a spread above 5 %, or a reason to throttle, is a warning.

    Args:
        source: NVML on the current card if not given.
        work: keeps the card busy for a moment; a large matrix product if not given.
        between: seconds of work before each reading.
    """
    if device != "cuda":
        return unverified(CARD, "not a CUDA device", _CARD_MEANS)
    nvml = source or open_nvml()
    busy = work or _heavy()
    readings = []
    for _ in range(_CARD_READINGS):
        until = time.perf_counter() + between
        busy()
        while time.perf_counter() < until:
            busy()
        readings.append(nvml.read())
    clocks = [reading.sm_clock_mhz for reading in readings[_CARD_READINGS // 2 :] if reading.sm_clock_mhz]
    if not clocks:
        return unverified(CARD, readings[-1].missing.get("sm_clock_mhz", "no clock was told"), _CARD_MEANS)
    reasons = sorted({reason for reading in readings for reason in reading.throttle or ()})
    told = "nothing holds it down"
    if reasons:
        told = f"held down by {', '.join(reasons)}"
    elif readings[-1].throttle is None:
        told = f"what holds it down is not told ({readings[-1].missing.get('throttle', 'no reason')})"
    figure = f"{min(clocks):.0f} to {max(clocks):.0f} MHz under load; {told}"
    moves = max(clocks) > (1 + _STEADY) * min(clocks)
    return Line(CARD, "warn" if reasons or moves else "pass", figure, _CARD_MEANS)


def load(source: HostSource | None = None, wait: Callable[[float], object] = time.sleep) -> Line:
    """CPUs that others keep busy while this process sleeps: above a quarter of one, or 1 % stolen, is a warning."""
    probe = source or HostProbe()
    probe.read()
    wait(_LOAD_SECONDS)
    reading = probe.read()
    if reading.foreign_cpus is None or reading.steal is None:
        return unverified(LOAD, reading.missing.get("foreign_cpus", "the counters stand still"), _LOAD_MEANS)
    average = "" if reading.load_average is None else f", load average {reading.load_average:.2f}"
    figure = f"others keep {reading.foreign_cpus:.2f} CPUs busy, {reading.steal:.1%} stolen{average}"
    loud = reading.foreign_cpus > _OTHERS or reading.steal > _STOLEN
    return Line(LOAD, "warn" if loud else "pass", figure, _LOAD_MEANS)


def card_load(device: str, source: CardSource | None = None) -> Line:
    """Other processes that compute on the card; any is a warning."""
    meaning = "other processes take turns with the one that measures"
    if device != "cuda":
        return unverified(CARD_LOAD, "not a CUDA device", meaning)
    reading = (source or open_nvml()).read()
    if reading.foreign_processes is None:
        return unverified(CARD_LOAD, reading.missing.get("foreign_processes", "not told"), meaning)
    figure = f"{reading.foreign_processes} other processes compute on it"
    return Line(CARD_LOAD, "warn" if reading.foreign_processes else "pass", figure, meaning)


def disk(folder: Path, free: Callable[[Path], int] = lambda place: shutil.disk_usage(place).free) -> Line:
    """Room where results go: less than 1 GiB, or a folder that cannot be written, is a warning.

    Args:
        folder: of the results; it need not be there yet.
        free: bytes free at a place.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    room = free(place)
    writable = place.is_dir() and os.access(place, os.W_OK)
    figure = f"{room / 2**30:.1f} GiB free at '{folder}'" + ("" if writable else ", which cannot be written")
    return Line(DISK, "pass" if writable and room >= ROOM else "warn", figure, _DISK_MEANS)


def _heavy() -> Callable[[], None]:
    """A product that takes the card a while, waited for."""
    factor = torch.zeros(4096, 4096, device="cuda")

    def run() -> None:
        torch.mm(factor, factor)
        torch.cuda.synchronize()

    return run
