"""Statistics of repeated measurements: medians, their intervals, paired ratios, noise floors."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A median with its 95 % interval; the bounds are null where there are too few samples to give them."""

    median: float
    low: float | None
    high: float | None

    @property
    def relative_half_width(self) -> float:
        """Half of the interval over the median; infinite without an interval."""
        if self.low is None or self.high is None or self.median == 0:
            return math.inf
        return (self.high - self.low) / 2 / self.median


def median_interval(samples: Sequence[float]) -> Interval:
    """Median and its distribution-free 95 % interval from order statistics.

    The interval's ends are samples: the widest rank at which a fair coin, tossed once a sample, would fall with
    probability under 2.5 %. Fewer than six samples cannot bound a median at 95 %.
    """
    ordered = np.sort(np.asarray(samples, dtype=float))
    n = len(ordered)
    rank = _rank(n)
    if rank == 0:
        return Interval(float(np.median(ordered)), None, None)
    return Interval(float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[n - rank]))


@functools.cache
def _rank(n: int) -> int:
    """From how many samples at either end the interval keeps away; 0 where even the outermost do not bound it."""
    if n > 500:
        return int(n / 2 - NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(n) / 2)
    rank, tail = 0, 0.5**n
    while tail <= (1 - CONFIDENCE) / 2:
        rank += 1
        tail += math.comb(n, rank) * 0.5**n
    return rank


def paired_ratio(ours: Sequence[float], reference: Sequence[float], resamples: int, seed: int) -> Interval:
    """Median of the ratios of samples taken in the same rounds, with a seeded bootstrap 95 % interval.

    Args:
        ours, reference: times in the same unit, one a round, in round order.
        resamples: bootstrap resamples of the rounds.
        seed: of the resampling.
    """
    ratios = np.asarray(ours, dtype=float) / np.asarray(reference, dtype=float)
    median = float(np.median(ratios))
    if len(ratios) < 2:
        return Interval(median, None, None)
    draws = np.random.default_rng(seed).integers(0, len(ratios), size=(resamples, len(ratios)))
    medians = np.median(ratios[draws], axis=1)
    low, high = np.quantile(medians, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(median, float(low), float(high))


def noise_floor(twin: Interval) -> float | None:
    """How far from 1 the ratio of a thing to itself may lie here: the farther end of the A/A interval, as a
    factor either way: 0.25 for 1.25 as for 0.8."""
    if twin.low is None or twin.high is None:
        return None
    return max(twin.high, 1 / twin.low) - 1


def relative_spread(samples: Sequence[float]) -> float:
    """Interquartile range over the median."""
    low, middle, high = np.quantile(np.asarray(samples, dtype=float), [0.25, 0.5, 0.75])
    return float((high - low) / middle) if middle else 0.0
