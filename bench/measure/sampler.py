"""Sampling a group: warm-up, then seeded shuffled rounds in which every member is timed once, until enough is known."""

from __future__ import annotations

import functools
import gc
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.measure.clock import Call, Clock
from bench.measure.energy import UNMEASURED, Energy, energy_per_call
from bench.measure.method import Method
from bench.measure.rest import Rest
from bench.measure.stats import Interval, median_interval, noise_floor, paired_ratio
from bench.measure.stopping import IntervalWithin, NoiseSettled, RoundLimit, first_met
from bench.measure.telemetry import Probe, RoundLog
from bench.measure.timing import Timing, timing_row

__all__ = ["Member", "Sampler", "Timing", "timing_row"]

_WARM_WINDOW = 3
_BRIEF_MS = 100.0  # the first call after a rest takes 0.1 to 0.2 ms longer, of which a longer call shows nothing


@dataclass
class Member:
    """One thing that a group times.

    Attributes:
        name: for progress and errors.
        call: one call of it.
        samples: (round, ms a call), in time order.
        repeats: calls inside one sample.
        primed: whether an untimed call precedes each sample.
        brief: whether one must after a rest of the card, whatever the method says.
        twin_of: the member whose copy it is, warmed before it; it is sampled in just the same way.
        stop_reason: why its sampling ended.
        energy: of a call, from the pass after the rounds.
        failure: the exception that ended it, if one did.
    """

    name: str
    call: Call
    samples: list[tuple[int, float]] = field(default_factory=list)
    repeats: int = 1
    primed: bool = False
    brief: bool = False
    twin_of: Member | None = None
    stop_reason: str | None = None
    energy: Energy = UNMEASURED
    failure: Exception | None = None

    @property
    def times(self) -> list[float]:
        """Milliseconds a call, in time order."""
        return [ms for _, ms in self.samples]


@dataclass
class Sampler:
    """Times groups of calls by one clock and one method.

    Attributes:
        clock: tells time on the device.
        method: budgets and targets.
        flush: runs ahead of every call, outside of what is timed, so that caches are cold; null to leave them warm.
        probe: looks at the machine between rounds, outside of what is timed; null where nobody does.
        on_member: called with (member, round) before a member is taken in hand; the round is -1 before sampling.
        busy_seconds: time spent in warm-up and timed calls so far.
    """

    clock: Clock
    method: Method
    on_member: Callable[[Member, int], None] = lambda member, number: None
    busy_seconds: float = 0.0
    probe: Probe | None = None
    flush: Call | None = None
    _number: int = field(default=-1, init=False, repr=False)
    _log: RoundLog = field(init=False, repr=False)
    _rest: Rest = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._log = RoundLog(self.probe, self.method)
        self._rest = Rest(self.method.rest_seconds, self.method.min_rounds)

    def run(
        self,
        members: Sequence[Member],
        seed: int,
        prepare: Callable[[Member], None] | None = None,
        settle: bool = False,
    ) -> None:
        """Warm every member up, let `prepare` look at it, then sample all of them in rounds.

        A member whose call raises is left out from then on and keeps the exception as its `failure`.

        Args:
            members: in any order; the order within rounds is drawn from the seed.
            seed: of this group's rounds, beside the method's own.
            prepare: an untimed pass over each warm member, such as its memory peak.
            settle: call every member once more after all of these passes, because they emptied the allocator.
        """
        with _no_collection():
            for member in members:
                self._guard(member, self.warm_up)
                if prepare is not None:
                    self._guard(member, prepare)
            if settle:
                for member in members:
                    self._guard(member, lambda m: self._time(m, 1))
            self._begin()
            self._rounds([member for member in members if member.failure is None], seed)
            if self.probe is not None:
                for member in members:
                    if member.twin_of is None:
                        self._guard(member, functools.partial(self._measure_energy, self.probe))

    def warm_up(self, member: Member) -> None:
        """Call until the last calls are not faster than those before, or the warm-up budget is spent.

        The first call, which may compile or load what others use, is not in the budget, nor in what a call takes.
        """
        self._time(member, 1)
        times: list[float] = []
        start = self.clock.now()
        while True:
            times.append(self._time(member, 1))
            recent, before = times[-_WARM_WINDOW:], times[-2 * _WARM_WINDOW : -_WARM_WINDOW]
            spent = self.clock.now() - start
            steady = len(before) == _WARM_WINDOW and (
                median_interval(recent).median >= (1 - self.method.warm_tolerance) * median_interval(before).median
            )
            long_enough = spent >= self.method.warm_seconds / 10
            if (steady and long_enough) or (spent >= self.method.warm_seconds):
                break
        typical = max(median_interval(times[-_WARM_WINDOW:]).median, 1e-6)
        cold = self.flush is not None
        member.repeats = 1 if cold else max(1, math.ceil(self.method.sample_ms / typical))
        member.primed, member.brief = typical < self.method.prime_ms and not cold, typical < _BRIEF_MS
        if member.twin_of is not None:
            twin = member.twin_of
            member.repeats, member.primed, member.brief = twin.repeats, twin.primed, twin.brief

    def _rounds(self, members: list[Member], seed: int) -> None:
        order = random.Random(f"{self.method.seed}/{seed}")
        budget = self.method.seconds * len(members)
        criteria = {id(member): self._criteria() for member in members}
        start = self.clock.now()
        number = repeated = 0
        self._log.begin()
        while members:
            self._number = number
            for member in order.sample(members, len(members)):
                self._guard(member, functools.partial(self._take, number))
            members = [member for member in members if member.failure is None]
            counted = self._log.end(number)
            self._rest.learn(counted, self._log.heated(number))
            if counted:
                for member in members:
                    member.stop_reason = first_met(criteria[id(member)], self._times(member))
            else:
                repeated += 1
            number += 1
            spent = self.clock.now() - start >= budget
            if number - repeated < self.method.min_rounds:
                if spent and repeated > self.method.retry_rounds:
                    self._stop(members, "disturbed")
                    break
                continue
            if all(member.stop_reason for member in members):
                break
            if spent:
                self._stop(members, "budget")
                break

    def _stop(self, members: Sequence[Member], reason: str) -> None:
        for member in members:
            member.stop_reason = member.stop_reason or reason

    def _take(self, number: int, member: Member) -> None:
        """A sample, behind a rest of the card if this round needs it."""
        pause = self._rest.pause
        if pause > 0:
            self.clock.pause(pause)
            self._rest.seconds += pause
            self._log.rested()
            if member.brief and not member.primed:
                self._time(member, 1)
        self.sample(number, member)
        if pause > 0:
            self._log.sampled()

    def sample(self, number: int, member: Member) -> None:
        if member.primed:
            self._time(member, 1)
        member.samples.append((number, self._time(member, member.repeats)))

    def _measure_energy(self, probe: Probe, member: Member) -> None:
        if self.flush is not None:
            member.energy = Energy(None, "with cold caches the counter would count the flushes too")
            return
        typical, seconds = median_interval(member.times).median, self.method.energy_seconds
        member.energy = self._log.energy(
            lambda: energy_per_call(member.call, typical, self.clock, probe.energy_mj, seconds)
        )

    def _times(self, member: Member) -> list[float]:
        """Milliseconds a call of the samples that count, in time order."""
        return [ms for number, ms in member.samples if self._log.counts(number)]

    def _criteria(self) -> list[IntervalWithin | NoiseSettled | RoundLimit]:
        method = self.method
        return [
            IntervalWithin(method.target, method.settle_rounds),
            NoiseSettled(method.settle_rounds, method.settle_tolerance),
            RoundLimit(method.max_rounds),
        ]

    def _time(self, member: Member, repeats: int) -> float:
        if self.flush is not None:
            self.flush()
        start = self.clock.now()
        milliseconds = self.clock.time(member.call, repeats)
        self.busy_seconds += self.clock.now() - start
        return milliseconds

    def _guard(self, member: Member, act: Callable[[Member], object]) -> None:
        if member.failure is not None:
            return
        self.on_member(member, self._number)
        try:
            act(member)
        except Exception as error:  # any failure of a block is that block's result, not the sweep's
            member.failure = error.with_traceback(None)  # whose frames would keep the tensors of the call alive

    def timing(self, member: Member, reference: Member | None, twin: Member | None) -> Timing:
        """What the samples of `member` say, beside those of the reference and of the reference's A/A twin."""
        numbers = [number for number, _ in member.samples]
        invalid = self._log.refusal(numbers)
        if invalid is not None and any(self._log.heated(number) for number in numbers):
            invalid += f"; {self._rest.told()}"
        telemetry = dict(self._log.fields(numbers, member.energy))
        if self.probe is not None:
            telemetry["rested_seconds"] = round(self._rest.seconds, 3)
        twin_ratio = self.ratio(twin, twin.twin_of or reference) if twin and invalid is None else None
        return Timing(
            latency=median_interval(self._times(member) if invalid is None else member.times),
            samples=tuple(member.times),
            calls_per_sample=member.repeats,
            rounds=len(member.samples),
            stop_reason=member.stop_reason or "budget",
            ratio=self.ratio(member, reference) if invalid is None else None,
            noise_floor=noise_floor(twin_ratio) if twin_ratio else None,
            twin_ratio=twin_ratio.median if twin_ratio else None,
            unused=tuple(place for place, number in enumerate(numbers) if not self._log.counts(number)),
            invalid=invalid,
            telemetry=telemetry,
        )

    def ratio(self, member: Member | None, reference: Member | None) -> Interval | None:
        """Time of one member over that of another in the same rounds; null without either, or without shared rounds."""
        if member is None or reference is None:
            return None
        ours, theirs = dict(member.samples), dict(reference.samples)
        shared = [number for number in ours if number in theirs and self._log.counts(number)]
        if not shared:
            return None
        if member is reference:
            return Interval(1.0, 1.0, 1.0)
        return paired_ratio([ours[number] for number in shared], [theirs[number] for number in shared])


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the samples."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
