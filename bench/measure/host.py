"""Host: how fast the CPUs run and who else is on them, from /proc. A quantity may be missing; nothing here raises."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

_Found = TypeVar("_Found")
# Counters of /proc/stat advance in steps of 10 ms on each CPU: over 0.25 s a step is 4 % of one CPU.
WINDOW_SECONDS = 0.25
_STAT_FIELDS = 8  # user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user time already


@dataclass(frozen=True)
class HostReading:
    """The state of the machine at one moment; what could not be read is null and named in `missing`.

    `steal` and `foreign_cpus` are means over the time since the last reading, or over the last 0.25 s where that is
    longer; both are null, and not missing, until there have been 0.25 s.

    Attributes:
        cpu_mhz: mean frequency of the CPUs that this process may run on, MHz.
        load_average: processes that run or wait for a CPU, mean over about a minute.
        steal: share of those CPUs' time that the hypervisor gave to other machines, 0 to 1.
        foreign_cpus: CPUs that other processes kept busy: time in which those CPUs were busy, less this process's CPU
            time, over wall time.
        missing: quantity to reason.
    """

    cpu_mhz: float | None = None
    load_average: float | None = None
    steal: float | None = None
    foreign_cpus: float | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Counters:
    """Seconds since some start: of wall time, and of CPU time over all CPUs that count."""

    wall: float
    busy: float
    stolen: float
    total: float
    own: float


class HostProbe:
    """Reads /proc of the machine that this process runs on.

    Args:
        proc: where the kernel tells of processes.
        cpus: where it tells of CPUs.
        allowed: numbers of the CPUs that count; by default those that this process may run on.
        now: seconds of wall time.
        own: seconds of CPU time of this process, all threads together.
        tick: seconds of one step of the counters in /proc/stat.
    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        cpus: Path = Path("/sys/devices/system/cpu"),
        allowed: Collection[int] | None = None,
        now: Callable[[], float] = time.perf_counter,
        own: Callable[[], float] = time.process_time,
        tick: float | None = None,
    ) -> None:
        self._proc, self._cpus = proc, cpus
        self._allowed = _affinity() if allowed is None else frozenset(allowed)
        self._now, self._own = now, own
        self._tick = 1 / os.sysconf("SC_CLK_TCK") if tick is None else tick
        self._past: list[_Counters] = []
        self._frequency: tuple[float, float | None] | None = None
        self.read()

    def read(self) -> HostReading:
        """The machine's state now."""
        missing: dict[str, str] = {}
        load = self._guard("load_average", self._load_average, missing)
        mhz = self._guard("cpu_mhz", self._mean_mhz, missing)
        steal, foreign = self._guard("steal", self._shares, missing) or (None, None)
        if "steal" in missing:
            missing["foreign_cpus"] = missing["steal"]
        return HostReading(mhz, load, steal, foreign, missing)

    def _guard(self, name: str, read: Callable[[], _Found], missing: dict[str, str]) -> _Found | None:
        try:
            return read()
        except (OSError, ValueError, IndexError) as error:
            where = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            missing[name] = where
            return None

    def _load_average(self) -> float:
        return float((self._proc / "loadavg").read_text().split()[0])

    def _mean_mhz(self) -> float:
        """Read at most once a window: it takes the kernel milliseconds on machines with many CPUs."""
        now = self._now()
        if self._frequency is None or now - self._frequency[0] >= WINDOW_SECONDS:
            self._frequency = (now, None)
            found = self._cpuinfo_mhz() or self._cpufreq_mhz()
            self._frequency = (now, sum(found) / len(found) if found else None)
        if self._frequency[1] is None:
            raise ValueError(f"neither {self._proc / 'cpuinfo'} nor {self._cpus} tells it")
        return self._frequency[1]

    def _cpuinfo_mhz(self) -> list[float]:
        file = self._proc / "cpuinfo"
        found: list[float] = []
        number = -1
        for line in file.read_text().splitlines() if file.exists() else ():
            name, _, value = line.partition(":")
            if name.strip() == "processor":
                number = int(value)
            elif name.strip() == "cpu MHz" and number in self._allowed:
                found.append(float(value))
        return found

    def _cpufreq_mhz(self) -> list[float]:
        files = [self._cpus / f"cpu{number}/cpufreq/scaling_cur_freq" for number in self._allowed]
        return [int(file.read_text()) / 1000 for file in files if file.exists()]

    def _shares(self) -> tuple[float, float] | None:
        """Steal share and foreign CPUs; null until there has been a window of time.

        Raises:
            ValueError: the counters stand still or went back, as where they are emulated.
        """
        last = self._counters()
        self._past.append(last)
        while len(self._past) > 2 and last.wall - self._past[1].wall >= WINDOW_SECONDS:
            del self._past[0]
        first = self._past[0]
        wall = last.wall - first.wall
        if wall < WINDOW_SECONDS:
            return None
        total, stolen, busy = last.total - first.total, last.stolen - first.stolen, last.busy - first.busy
        if total <= 0 or stolen < 0 or busy < 0:
            raise ValueError(f"{self._proc / 'stat'} stands still or goes back")
        return stolen / total, max(0.0, busy - (last.own - first.own)) / wall

    def _counters(self) -> _Counters:
        busy = stolen = total = 0
        for line in (self._proc / "stat").read_text().splitlines():
            name, *values = line.split()
            if not name.startswith("cpu") or not name[3:].isdigit() or int(name[3:]) not in self._allowed:
                continue
            times = [int(value) for value in values[:_STAT_FIELDS]]
            user, nice, system, _, _, irq, softirq, steal = times
            busy += user + nice + system + irq + softirq
            stolen += steal
            total += sum(times)
        return _Counters(self._now(), busy * self._tick, stolen * self._tick, total * self._tick, self._own())


def _affinity() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))
