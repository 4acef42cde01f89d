"""Timing: what sampling found out about one member, and its fields in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.measure.stats import Interval


@dataclass(frozen=True)
class Timing:
    """What sampling found out about one member; times in milliseconds a call.

    Attributes:
        latency: median and its 95 % interval, of the samples that count.
        samples: every sample in time order; none is dropped.
        calls_per_sample: calls whose mean one sample is.
        rounds: rounds sampled.
        stop_reason: `interval`, `settled`, `rounds`, `budget` or `disturbed`.
        ratio: time over the reference's time in the same round; null without a reference.
        noise_floor: how far the A/A twin's ratio may lie from 1, relative.
        twin_ratio: median ratio of the reference's twin to the reference.
        unused: places in `samples` of those that do not count, because their round was disturbed.
        invalid: why none of these figures holds, if they do not; `latency` is then that of all samples.
        telemetry: fields of the row that say how the machine was.
    """

    latency: Interval
    samples: tuple[float, ...]
    calls_per_sample: int
    rounds: int
    stop_reason: str
    ratio: Interval | None
    noise_floor: float | None
    twin_ratio: float | None
    unused: tuple[int, ...] = ()
    invalid: str | None = None
    telemetry: Mapping[str, object] = field(default_factory=dict)


def timing_row(timing: Timing) -> dict[str, object]:
    """The fields of a result row that sampling gives, times in ms; status and reason too where there is no result."""
    raw: dict[str, object] = {
        "latency_samples_ms": list(timing.samples),
        "calls_per_sample": timing.calls_per_sample,
        "rounds": timing.rounds,
        "stop_reason": timing.stop_reason,
        **timing.telemetry,
    }
    if timing.invalid is not None:
        return {"status": "invalid", "reason": timing.invalid, **raw}
    times = sorted(ms for place, ms in enumerate(timing.samples) if place not in timing.unused)
    return {
        "latency_ms": timing.latency.median,
        "latency_ci_low_ms": timing.latency.low,
        "latency_ci_high_ms": timing.latency.high,
        "latency_min_ms": times[0],
        "latency_p10_ms": _quantile(times, 0.1),
        "latency_p90_ms": _quantile(times, 0.9),
        **raw,
        **ratio_row("ratio", timing.ratio),
        "noise_floor": timing.noise_floor,
        "twin_ratio": timing.twin_ratio,
    }


def ratio_row(name: str, ratio: Interval | None) -> dict[str, object]:
    """The fields of a ratio with its interval."""
    return {
        name: ratio.median if ratio else None,
        f"{name}_ci_low": ratio.low if ratio else None,
        f"{name}_ci_high": ratio.high if ratio else None,
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
