"""Statistics of repeated measurements: medians, their intervals, paired ratios, noise floors."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
LEAST_SAMPLES = 6

Array = npt.NDArray[np.float64]


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


def median_interval(samples: Sequence[float] | Array) -> Interval:
    """Median and its 95 % interval within this run, from order statistics of the samples in time order.

    The interval's ends are samples: the widest rank at which a fair coin, tossed once an independent sample, would fall
    with probability under 2.5 %, scaled from the number of independent samples to that of all. Where fewer than six
    count as independent the interval is the whole range, the widest that samples can give. Fewer than six samples
    cannot bound a median at 95 %.
    """
    values = np.asarray(samples, dtype=float)
    ordered, n = np.sort(values), len(values)
    if n < LEAST_SAMPLES:
        return Interval(float(np.median(ordered)), None, None)
    effective = independent(values)
    rank = max(1, n * _rank(effective) // effective)
    return Interval(float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[n - rank]))


def paired_ratio(ours: Sequence[float], reference: Sequence[float]) -> Interval:
    """Median of the ratios of samples taken in the same rounds, with its interval, see `median_interval`.

    Args:
        ours, reference: times in the same unit, one a round, in round order.
    """
    return median_interval(np.asarray(ours, dtype=float) / np.asarray(reference, dtype=float))


def independent(samples: Sequence[float] | Array) -> int:
    """How many independent samples tell as much as these, in time order: n (1 - r) / (1 + r), at least one.

    r is the correlation of the ranks of neighbours (as of an autoregressive process of first order), less what chance
    gives it in so few; negative correlation counts as none.
    """
    n = len(samples)
    if n < LEAST_SAMPLES:
        return max(n, 1)
    _, place, many = np.unique(samples, return_inverse=True, return_counts=True)
    if len(many) == 1:
        return n
    ranks = (np.cumsum(many) - (many + 1) / 2)[place] - (n - 1) / 2
    r = float((ranks[1:] * ranks[:-1]).sum() / (ranks * ranks).sum())
    r = min(max((n * r + 1) / (n - 3), 0.0), 0.95)
    return max(1, round(n * (1 - r) / (1 + r)))


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
