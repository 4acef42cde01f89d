"""Energy of a call, from a counter of the card, in a pass of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.measure.clock import Call, Clock

Counter = Callable[[], tuple[float | None, str | None]]

_BATCH_MS = 20.0  # the counter is read between batches; the card is idle meanwhile, so they are not short
_PATIENCE_SECONDS = 1.0


@dataclass(frozen=True)
class Energy:
    """Energy of a call.

    Attributes:
        mj: of the whole card, what it draws when idle included, mJ; null where there is none to tell.
        reason: why it is null, if there is anything to say.
    """

    mj: float | None
    reason: str | None = None


UNMEASURED = Energy(None)


def energy_per_call(call: Call, milliseconds: float, clock: Clock, counter: Counter, seconds: float) -> Energy:
    """Run `call` over and over and see how far the counter rises.

    The counter is renewed only every 20 to 100 ms, which is longer than most samples. So nothing is read off a single
    sample: the pass begins and ends where the counter is seen to step, and counts the calls between.

    Args:
        call: warm.
        milliseconds: about how long it takes.
        clock: runs the calls to their end.
        counter: mJ since some start, or null and why.
        seconds: least time between the two steps; 0 for no measurement.
    """
    repeats = max(1, math.ceil(_BATCH_MS / max(milliseconds, 1e-3)))
    last, reason = counter()
    if last is None:
        return Energy(None, reason)
    if seconds <= 0:
        return Energy(None, "the method's energy_seconds is 0")
    first: tuple[float, int, float] | None = None
    calls, changed = 0, clock.now()
    while True:
        clock.time(call, repeats)
        calls += repeats
        reading, reason = counter()
        now = clock.now()
        if reading is None:
            return Energy(None, reason)
        if reading < last:
            return Energy(None, "the energy counter went back")
        if reading > last:
            last, changed = reading, now
            if first is None:
                first = (reading, calls, now)
            elif now - first[2] >= seconds:
                return Energy((reading - first[0]) / (calls - first[1]))
        elif now - changed >= _PATIENCE_SECONDS:
            return Energy(None, f"the energy counter stood still for {now - changed:.1f} s")
