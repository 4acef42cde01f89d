"""Are the instruments true on this machine?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from bench.environment import available_bytes
from bench.measure.clock import Clock, clock_for
from bench.measure.machine import PRODUCTS
from bench.selftest import cache, memory, noise, surroundings, timer, work
from bench.selftest.line import VERDICTS, Line, unverified

__all__ = ["VERDICTS", "Line", "checks", "reads_false", "selftest"]

Check = Callable[[], Line]


def selftest(
    device: str, folder: Path, clock: Clock | None = None, told: Callable[[str], None] = lambda name: None
) -> list[Line]:
    """Make every check on a device, in about 10 s.

    Args:
        device: `cpu` or `cuda`.
        folder: where results would go.
        clock: the device's own if not given.
        told: is given the name of each check before it begins.
    """
    lines = []
    for name, check in checks(device, folder, clock or clock_for(device)).items():
        told(name)
        lines.append(_made(name, check))
    return lines


def checks(device: str, folder: Path, clock: Clock) -> dict[str, Check]:
    """The checks by name, in order: what looks at the machine at rest stands before what keeps it busy."""
    room = available_bytes(device)
    products = {
        f"{work.PRODUCT} {name}": functools.partial(work.multiply, name, device, clock, room)
        for name in PRODUCTS[device]
    }
    return {
        surroundings.LOAD: surroundings.load,
        surroundings.CARD_LOAD: lambda: surroundings.card_load(device),
        surroundings.CORES: surroundings.cores,
        timer.STEP: lambda: timer.step(clock),
        timer.DELAY: lambda: timer.known_delay(device, clock),
        work.COUNTERS: work.counters,
        memory.TRACED: memory.traced,
        memory.CUDA: lambda: memory.on_card(device),
        memory.CPU: memory.on_cpu,
        **products,
        work.COPY: lambda: work.move(device, clock, room),
        cache.FLUSH: lambda: cache.flushed(device, clock),
        surroundings.CARD: lambda: surroundings.card_clock(device),
        memory.HOST: memory.host,
        noise.NOISE: lambda: noise.twins(device, clock),
        surroundings.DISK: lambda: surroundings.disk(folder),
    }


def reads_false(lines: list[Line]) -> bool:
    """Whether an instrument reads false."""
    return any(line.verdict == "fail" for line in lines)


def _made(name: str, check: Check) -> Line:
    try:
        return check()
    except Exception as error:  # a check that breaks has verified nothing, and the others still can
        return unverified(name, f"{type(error).__name__}: {error}", "the check itself did not come to an end")
