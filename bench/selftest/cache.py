"""Does the flush empty the caches? The same read behind it and without it."""

from __future__ import annotations

import statistics

import torch

from bench.measure.cache import Flush, cache_bytes
from bench.measure.clock import Clock
from bench.selftest.line import Line, unverified

FLUSH = "cold caches"
_SHARE = 8
_TRIES = 9
_LEAST = 1.1
_MEANS = "with --cache cold a block finds nothing of its weights and inputs in the caches"


def flushed(device: str, clock: Clock) -> Line:
    """Time a read of an eighth of what the caches hold: a flush ahead that does not slow it by 10 % is a warning."""
    held = cache_bytes(device)
    if held is None:
        return unverified(FLUSH, f"nobody says how much this {device} caches", _MEANS)
    flush, data = Flush(device, held), torch.ones(held // _SHARE // 4, device=device)
    warm, cold = [], []
    for _ in range(_TRIES):
        data.sum()
        warm.append(clock.time(data.sum))
        flush()
        cold.append(clock.time(data.sum))
    ratio = statistics.median(cold) / max(statistics.median(warm), 1e-9)
    figure = (
        f"a read of {held / _SHARE / 2**20:.3g} MiB takes {ratio:.2f}x the time behind a flush of "
        f"{flush.bytes / 2**20:.0f} MiB, twice the caches"
    )
    return Line(FLUSH, "pass" if ratio >= _LEAST else "warn", figure, _MEANS)
