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
from bench.measure.method import Method
from bench.measure.stats import Interval, median_interval, noise_floor, paired_ratio
from bench.measure.stopping import IntervalWithin, NoiseSettled, RoundLimit, first_met

_WARM_WINDOW = 3


@dataclass
class Member:
    """One thing that a group times.

    Attributes:
        name: for progress and errors.
        call: one call of it.
        samples: (round, ms a call), in time order.
        repeats: calls inside one sample.
        primed: whether an untimed call precedes each sample.
        twin_of: the member whose copy it is, warmed before it; it is sampled in just the same way.
        stop_reason: why its sampling ended.
        failure: the exception that ended it, if one did.
    """

    name: str
    call: Call
    samples: list[tuple[int, float]] = field(default_factory=list)
    repeats: int = 1
    primed: bool = False
    twin_of: Member | None = None
    stop_reason: str | None = None
    failure: Exception | None = None

    @property
    def times(self) -> list[float]:
        """Milliseconds a call, in time order."""
        return [ms for _, ms in self.samples]


@dataclass(frozen=True)
class Timing:
    """What sampling found out about one member; times in milliseconds a call.

    Attributes:
        latency: median and its 95 % interval.
        samples: every sample in time order; none is dropped.
        calls_per_sample: calls whose mean one sample is.
        rounds: rounds sampled.
        stop_reason: `interval`, `settled`, `rounds` or `budget`.
        ratio: time over the reference's time in the same round; null without a reference.
        noise_floor: how far the A/A twin's ratio may lie from 1, relative.
        twin_ratio: median ratio of the reference's twin to the reference.
    """

    latency: Interval
    samples: tuple[float, ...]
    calls_per_sample: int
    rounds: int
    stop_reason: str
    ratio: Interval | None
    noise_floor: float | None
    twin_ratio: float | None


@dataclass
class Sampler:
    """Times groups of calls by one clock and one method.

    Attributes:
        clock: tells time on the device.
        method: budgets and targets.
        on_round: called before each round with (round, members still sampled).
        busy_seconds: time spent in warm-up and timed calls so far.
    """

    clock: Clock
    method: Method
    on_round: Callable[[int, int], None] = lambda number, members: None
    busy_seconds: float = 0.0

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
                self._guard(member, self._warm_up)
                if prepare is not None:
                    self._guard(member, prepare)
            if settle:
                for member in members:
                    self._guard(member, lambda m: self._time(m, 1))
            self._rounds([member for member in members if member.failure is None], seed)

    def _warm_up(self, member: Member) -> None:
        """Call until the last calls are not faster than those before, or the warm-up budget is spent."""
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
            if (steady and long_enough) or (spent >= self.method.warm_seconds and len(times) > 1):
                break
        typical = max(median_interval(times[-_WARM_WINDOW:]).median, 1e-6)
        member.repeats = max(1, math.ceil(self.method.sample_ms / typical))
        member.primed = typical < self.method.prime_ms
        if member.twin_of is not None:
            member.repeats, member.primed = member.twin_of.repeats, member.twin_of.primed

    def _rounds(self, members: list[Member], seed: int) -> None:
        order = random.Random(f"{self.method.seed}/{seed}")
        budget = self.method.seconds * len(members)
        criteria = {id(member): self._criteria() for member in members}
        start = self.clock.now()
        number = 0
        while members:
            self.on_round(number, len(members))
            for member in order.sample(members, len(members)):
                self._guard(member, functools.partial(self._sample, number))
            members = [member for member in members if member.failure is None]
            number += 1
            for member in members:
                member.stop_reason = first_met(criteria[id(member)], member.times)
            if number < self.method.min_rounds:
                continue
            if all(member.stop_reason for member in members):
                break
            if self.clock.now() - start >= budget:
                for member in members:
                    member.stop_reason = member.stop_reason or "budget"
                break

    def _sample(self, number: int, member: Member) -> None:
        if member.primed:
            self._time(member, 1)
        member.samples.append((number, self._time(member, member.repeats)))

    def _criteria(self) -> list[IntervalWithin | NoiseSettled | RoundLimit]:
        method = self.method
        return [
            IntervalWithin(method.target),
            NoiseSettled(method.settle_rounds, method.settle_tolerance),
            RoundLimit(method.max_rounds),
        ]

    def _time(self, member: Member, repeats: int) -> float:
        start = self.clock.now()
        milliseconds = self.clock.time(member.call, repeats)
        self.busy_seconds += self.clock.now() - start
        return milliseconds

    def _guard(self, member: Member, act: Callable[[Member], object]) -> None:
        if member.failure is not None:
            return
        try:
            act(member)
        except Exception as error:  # any failure of a block is that block's result, not the sweep's
            member.failure = error.with_traceback(None)  # whose frames would keep the tensors of the call alive

    def timing(self, member: Member, reference: Member | None, twin: Member | None) -> Timing:
        """What the samples of `member` say, beside those of the reference and of the reference's A/A twin."""
        twin_ratio = self._ratio(twin, reference)
        return Timing(
            latency=median_interval(member.times),
            samples=tuple(member.times),
            calls_per_sample=member.repeats,
            rounds=len(member.samples),
            stop_reason=member.stop_reason or "budget",
            ratio=self._ratio(member, reference),
            noise_floor=noise_floor(twin_ratio) if twin_ratio else None,
            twin_ratio=twin_ratio.median if twin_ratio else None,
        )

    def _ratio(self, member: Member | None, reference: Member | None) -> Interval | None:
        if member is None or reference is None:
            return None
        ours, theirs = dict(member.samples), dict(reference.samples)
        shared = [number for number in ours if number in theirs]
        if not shared:
            return None
        if member is reference:
            return Interval(1.0, 1.0, 1.0)
        return paired_ratio(
            [ours[number] for number in shared],
            [theirs[number] for number in shared],
            self.method.resamples,
            self.method.seed,
        )


def timing_row(timing: Timing) -> dict[str, object]:
    """The fields of a result row that hold times, in ms."""
    times = sorted(timing.samples)
    ratio = timing.ratio
    return {
        "latency_ms": timing.latency.median,
        "latency_ci_low_ms": timing.latency.low,
        "latency_ci_high_ms": timing.latency.high,
        "latency_min_ms": times[0],
        "latency_p10_ms": _quantile(times, 0.1),
        "latency_p90_ms": _quantile(times, 0.9),
        "latency_samples_ms": list(timing.samples),
        "calls_per_sample": timing.calls_per_sample,
        "rounds": timing.rounds,
        "stop_reason": timing.stop_reason,
        "ratio": ratio.median if ratio else None,
        "ratio_ci_low": ratio.low if ratio else None,
        "ratio_ci_high": ratio.high if ratio else None,
        "noise_floor": timing.noise_floor,
        "twin_ratio": timing.twin_ratio,
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


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
