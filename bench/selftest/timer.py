"""Does the device's clock tell the time? Its step and its cost, and a delay of known length."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

import torch

from bench.measure.clock import Call, Clock
from bench.measure.method import Method
from bench.selftest.line import Line, unverified

DELAY_SECONDS = 0.05
_READINGS = 1000
_SHARE = 0.01
_APART = 0.02
_SHORT = 0.10
_TRIES = 5

STEP, DELAY = "timer", "known delay"
_STEP_MEANS = "what reading the clock adds to a sample, and the finest difference that it can show"
_DELAY_MEANS = "a wait is read as long as it is, by a second clock beside the one that times the blocks"


def step(clock: Clock) -> Line:
    """The finest step between readings of an empty call, and what such a reading costs.

    Either above 1 % of the shortest sample is a warning; a clock that does not move, or moves backwards, is false.
    """
    readings = [clock.time(_nothing) for _ in range(_READINGS)]
    if min(readings) < 0 or max(readings) == 0:
        return Line(STEP, "fail", f"an empty call reads {min(readings):g} to {max(readings):g} ms", _STEP_MEANS)
    cost = statistics.median(readings)
    distinct = sorted(set(readings))
    finest = min((after - before for before, after in itertools.pairwise(distinct)), default=cost)
    sample = Method().sample_ms
    figure = f"step {_time(finest)}, an empty call reads {_time(cost)}; the shortest sample lasts {_time(sample)}"
    return Line(STEP, "warn" if max(cost, finest) > _SHARE * sample else "pass", figure, _STEP_MEANS)


def known_delay(device: str, clock: Clock) -> Line:
    """A wait of 50 ms: asleep on a CPU, spinning on a CUDA device."""
    if device == "cpu":
        return delay(clock, lambda: time.sleep(DELAY_SECONDS))
    spin = getattr(torch.cuda, "_sleep", None)
    if spin is None:
        return unverified(DELAY, "this PyTorch has no call that keeps the device busy for a given time", _DELAY_MEANS)
    cycles = spin_cycles(spin, torch.cuda.synchronize)
    return delay(clock, lambda: spin(cycles), torch.cuda.synchronize)


def delay(
    clock: Clock,
    wait: Call,
    finish: Callable[[], None] = lambda: None,
    witness: Callable[[], float] | None = None,
) -> Line:
    """Compare the clock's reading of a wait with a witness's: off by more than 2 %, or 10 % short of 50 ms, is false.

    Of several waits the one on which the two agree best counts, since whoever interrupts between them parts them.

    Args:
        clock: the one to test.
        wait: takes 50 ms.
        finish: returns when the device is idle.
        witness: seconds by another clock of the host.
    """
    look = witness or raw_seconds
    trials = []
    for _ in range(_TRIES):
        finish()
        start = look()
        reading = clock.time(wait)
        finish()
        seen = 1e3 * (look() - start)
        trials.append((abs(reading - seen) / seen if seen > 0 else float("inf"), reading, seen))
    apart, reading, seen = min(trials)
    false = apart > _APART or reading < (1 - _SHORT) * 1e3 * DELAY_SECONDS
    figure = f"{_time(1e3 * DELAY_SECONDS)} asked, {_time(reading)} read, {_time(seen)} by another clock"
    return Line(DELAY, "fail" if false else "pass", figure, _DELAY_MEANS)


def spin_cycles(
    spin: Callable[[int], object], finish: Callable[[], None], now: Callable[[], float] = time.perf_counter
) -> int:
    """How many cycles the device spins for in 50 ms, by the host's clock, once its own clock rate has risen."""
    cycles, start = 10**7, now()
    while True:
        finish()
        began = now()
        spin(cycles)
        finish()
        seconds = max(now() - began, 1e-9)
        cycles = max(1, round(cycles * min(DELAY_SECONDS / seconds, 10.0)))
        if now() - start > 10 * DELAY_SECONDS:
            return cycles


def raw_seconds() -> float:
    """A clock of the host that nobody sets or slews where the system has one, the time of day elsewhere."""
    raw = getattr(time, "CLOCK_MONOTONIC_RAW", None)
    return time.time() if raw is None else time.clock_gettime(raw)


def _nothing() -> None:
    """What an empty sample calls."""


def _time(milliseconds: float) -> str:
    for factor, unit in ((1.0, "ms"), (1e3, "µs")):
        if milliseconds * factor >= 1:
            return f"{milliseconds * factor:.3g} {unit}"
    return f"{milliseconds * 1e6:.3g} ns"
