"""Telemetry: how the machine was while rounds were sampled, which of them it disturbed, and what a row says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Protocol

from bench.measure.energy import Energy
from bench.measure.host import HostProbe, HostReading
from bench.measure.method import Method
from bench.measure.nvml import HEAT, CardReading, Nvml, open_nvml

Part = CardReading | HostReading | None

_CARD: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sm_clock_mhz": median,
    "memory_clock_mhz": median,
    "temperature_c": median,
    "power_w": median,
}
_HOST: Mapping[str, Callable[[Sequence[float]], float]] = {
    "cpu_mhz": median,
    "load_average": median,
    "steal": fmean,
    "foreign_cpus": fmean,
}


@dataclass(frozen=True)
class Reading:
    """The machine at one moment; a part that is not watched is null."""

    card: CardReading | None = None
    host: HostReading | None = None


class Probe(Protocol):
    """Looks at the machine. Never raises: what cannot be read is null in the reading, with its reason."""

    def read(self) -> Reading:
        """The machine's state now."""

    def energy_mj(self) -> tuple[float | None, str | None]:
        """The device's energy counter, mJ; or null, and why, if there is anything to say."""


@dataclass(frozen=True)
class MachineProbe:
    """The machine that this process runs on; the card only where work runs on one."""

    host: HostProbe
    card: Nvml | None = None

    def read(self) -> Reading:
        return Reading(self.card.read() if self.card else None, self.host.read())

    def energy_mj(self) -> tuple[float | None, str | None]:
        return self.card.energy_mj() if self.card else (None, None)


def probe_for(device: str, ours: Collection[int] | None = None) -> MachineProbe:
    """What watches the machine while that device works; see `Nvml` for `ours`."""
    return MachineProbe(HostProbe(), open_nvml(ours) if device == "cuda" else None)


def disturbance(before: Reading, after: Reading, method: Method) -> list[str]:
    """What disturbed a piece of work between two readings, by the bounds of a round; empty where nothing did.

    The card's own power and heat are left out: they hold its clocks down from some 0.1 s of work on, and of a probe the
    fastest call counts, which comes before.
    """
    held = [*_held(before.card), *_held(after.card)]
    return list(dict.fromkeys(why for why in [*held, *_crowded(after.host, method)] if why not in HEAT))


class RoundLog:
    """What a probe saw of the rounds of one group.

    A round is disturbed when at its beginning or end something held the card's clocks down or another process was on
    the card, or when since the last reading others had more of the CPUs than the method allows. The first two are
    refused: the round does not count. The CPUs' are only told: rounds alternate, so that a ratio bears it, and a small
    machine that is never alone must still give results.

    In a round in which the card rests ahead of every sample it is looked at on both sides of each: a rest would hide
    from the end of the round what held the card in mid-round.

    Args:
        probe: null where nobody looks; then every round counts and rows say nothing.
        method: bounds.
    """

    def __init__(self, probe: Probe | None, method: Method) -> None:
        self._probe, self._method = probe, method
        self._readings: dict[int, list[Reading]] = {}
        self._disturbed: dict[int, list[str]] = {}
        self._refused: set[int] = set()
        self._heated: set[int] = set()
        self._before = Reading()
        self._rested: list[Reading] = []
        self._sampled: list[Reading] = []

    def begin(self) -> None:
        """Sampling begins."""
        if self._probe is not None:
            self._before = self._probe.read()

    def rested(self) -> None:
        """The card has rested and a sample is to follow. What was seen before the round no longer matters."""
        if self._probe is not None:
            self._rested.append(self._probe.read())

    def sampled(self) -> None:
        """A sample that followed a rest has been taken."""
        if self._probe is not None:
            self._sampled.append(self._probe.read())

    def end(self, number: int) -> bool:
        """A round has ended; whether it counts."""
        if self._probe is None:
            return True
        within = [*self._sampled, self._probe.read()]
        edges = [*(self._rested or [self._before]), *within]
        held = list(dict.fromkeys(reason for reading in edges for reason in _held(reading.card)))
        crowded = dict.fromkeys(reason for reading in within for reason in _crowded(reading.host, self._method))
        self._readings[number], self._before = within, within[-1]
        self._rested, self._sampled = [], []
        if held or crowded:
            self._disturbed[number] = [*held, *crowded]
        if held and not self._method.use_disturbed:
            self._refused.add(number)
            if HEAT.issuperset(held):
                self._heated.add(number)
        return self.counts(number)

    def heated(self, number: int) -> bool:
        """Whether that round was refused for the card's power or heat and for nothing else."""
        return number in self._heated

    def counts(self, number: int) -> bool:
        """Whether the samples of that round enter medians and ratios."""
        return number not in self._refused

    def energy(self, measure: Callable[[], Energy]) -> Energy:
        """An energy pass, unless the card is disturbed at its beginning or end."""
        if self._probe is None:
            return Energy(None)
        held = _held(self._probe.read().card)
        found = measure()
        held = held or _held(self._probe.read().card)
        if held and found.mj is not None and not self._method.use_disturbed:
            return Energy(None, f"measured under {held[0]}")
        return found

    def refusal(self, numbers: Sequence[int]) -> str | None:
        """Why these rounds give no result: too few of them count. Null where enough do."""
        good = sum(self.counts(number) for number in numbers)
        least = self._method.min_rounds
        if good == len(numbers) or good >= least:
            return None
        causes = ", ".join(self._causes(numbers))
        return f"{good} of {len(numbers)} rounds were undisturbed, {least} are needed: {causes}"

    def fields(self, numbers: Sequence[int], energy: Energy) -> dict[str, object]:
        """What a row says of a member that was sampled in these rounds; empty where nobody looked."""
        if self._probe is None:
            return {}
        good = [number for number in numbers if self.counts(number)]
        usual = [reading for number in good or numbers for reading in self._readings[number]]
        every = [reading for number in numbers for reading in self._readings[number]]
        missing: dict[str, str] = {}
        found = _reduce([reading.card for reading in usual], _CARD, missing)
        found |= _reduce([reading.host for reading in usual], _HOST, missing)
        cards = [reading.card for reading in every]
        processes = _gather(cards, "foreign_processes", "foreign_processes", missing)
        throttle = _gather(cards, "throttle", "throttled", missing)
        if energy.mj is None and energy.reason is not None:
            missing["energy_mj"] = energy.reason
        return found | {
            "energy_mj": energy.mj,
            "throttled": any(throttle) if throttle else None,
            "foreign_processes": max(processes) if processes else None,
            "disturbed_rounds": sum(number in self._disturbed for number in numbers),
            "disturbed_by": self._causes(numbers),
            "unused_samples": [place for place, number in enumerate(numbers) if not self.counts(number)],
            "telemetry_missing": [f"{name}: {reason}" for name, reason in sorted(missing.items())],
        }

    def _causes(self, numbers: Sequence[int]) -> list[str]:
        """What disturbed them, the most frequent first."""
        seen = Counter(reason for number in numbers for reason in self._disturbed.get(number, ()))
        return [f"{reason} ({count} rounds)" for reason, count in seen.most_common()]


def _held(card: CardReading | None) -> list[str]:
    """What keeps times on the card from being true."""
    if card is None:
        return []
    return [*(card.throttle or ()), *(["another process on the card"] if card.foreign_processes else [])]


def _crowded(host: HostReading | None, method: Method) -> list[str]:
    """What kept CPUs from this process."""
    if host is None:
        return []
    reasons = []
    if host.foreign_cpus is not None and host.foreign_cpus > method.foreign_cpus:
        reasons.append("other processes on the CPUs")
    if host.steal is not None and host.steal > method.steal:
        reasons.append("CPU time stolen by the hypervisor")
    return reasons


def _gather(parts: Sequence[Part], attribute: str, name: str, missing: dict[str, str]) -> list[Any]:
    """The values of a quantity; none, and its reason in `missing`, where one of the readings lacks it."""
    looked = [part for part in parts if part is not None]
    for part in looked:
        reason = part.missing.get(attribute)
        if reason is not None:
            missing[name] = reason
            return []
    values = [value for part in looked if (value := getattr(part, attribute)) is not None]
    if looked and not values:
        missing[name] = "sampling was shorter than one reading takes"
    return values


def _reduce(
    parts: Sequence[Part],
    reducers: Mapping[str, Callable[[Sequence[float]], float]],
    missing: dict[str, str],
) -> dict[str, object]:
    """One figure for each quantity."""
    found: dict[str, object] = {}
    for name, reduce in reducers.items():
        values = _gather(parts, name, name, missing)
        found[name] = reduce(values) if values else None
    return found
