"""Two sets of samples that share no rounds: the ratio of their medians, and how sure it is."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.measure.stats import CONFIDENCE, Interval

LEAST_SAMPLES = 6
_WINDOW = 4.5

Array = npt.NDArray[np.float64]


def unpaired_ratio(new: Sequence[float], old: Sequence[float], comparisons: int = 1) -> Interval:
    """Ratio of the median of `new` to the median of `old`, with its bootstrap percentile interval.

    The bootstrap distribution of a median is known in closed form: a resample's median is at most the k-th sample just
    when enough of its draws are. So nothing is drawn, and the far ends that many comparisons need cost nothing. With an
    even number of draws the outer of the two middle ones is taken at either end. Noise comes in bursts: samples that
    resemble the one before tell less, so a resample has as many draws as there are independent samples.

    Args:
        new, old: times in the same unit, each of its own run, in time order.
        comparisons: how many such intervals shall hold together at 95 %; each holds at 1 - 5 % / comparisons.

    Returns:
        The ratio; without bounds where a side has fewer than six samples, or a median of 0.
    """
    first, second = _Sorted.of(new), _Sorted.of(old)
    if not len(new) or not len(old) or first.samples[0] <= 0 or second.samples[0] <= 0:
        return Interval(math.nan, None, None)
    median = float(np.median(first.samples) / np.median(second.samples))
    if min(len(new), len(old)) < LEAST_SAMPLES:
        return Interval(median, None, None)
    tail = (1 - CONFIDENCE) / comparisons / 2
    return Interval(median, _lower_end(first, second, tail), 1 / _lower_end(second, first, tail))


@dataclass(frozen=True)
class _Sorted:
    """Sorted samples, and how many of them count as independent."""

    samples: Array
    draws: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> _Sorted:
        values = np.asarray(samples, dtype=float)
        return cls(np.sort(values), independent(values))

    def ranks(self, middle: int) -> tuple[Array, Array]:
        """The samples that may be the `middle`-th smallest draw of a resample, and how likely each is."""
        start, weights = _rank_weights(len(self.samples), self.draws, middle)
        return self.samples[start : start + len(weights)], weights


def independent(samples: Array) -> int:
    """How many independent samples tell as much as these, in time order: n (1 - r) / (1 + r), at least one.

    r is the correlation of the ranks of neighbours, less what chance gives it in so few.
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


def _lower_end(over: _Sorted, under: _Sorted, tail: float) -> float:
    """The ratio that bootstrap medians of `over` / `under` stay at or below with probability `tail`."""
    numerators, upper = over.ranks((over.draws + 1) // 2)
    denominators, lower = under.ranks(under.draws // 2 + 1)
    ratios = np.divide.outer(numerators, denominators).ravel()
    order = np.argsort(ratios, kind="stable")
    reached = np.cumsum(np.multiply.outer(upper, lower).ravel()[order])
    return float(ratios[order[min(int(np.searchsorted(reached, tail)), len(order) - 1)]])


@functools.lru_cache(maxsize=256)
def _rank_weights(n: int, draws: int, middle: int) -> tuple[int, Array]:
    """How likely each of `n` sorted samples is the `middle`-th smallest of `draws` drawn from them.

    Returns:
        Index of the first sample that is likely at all, and the probabilities from there on.
    """
    reach, centre = math.ceil(_WINDOW * n / math.sqrt(draws)) + 1, round(n * middle / draws)
    first, last = max(1, centre - reach), min(n, centre + reach)
    share = np.arange(first - 1, last + 1)[:, None] / n
    below = np.arange(middle, draws + 1)
    choose = np.array([math.lgamma(draws + 1) - math.lgamma(j + 1) - math.lgamma(draws - j + 1) for j in below])
    inside = np.clip(share, 1e-300, 1 - 1e-16)
    at_most = np.exp(choose + below * np.log(inside) + (draws - below) * np.log1p(-inside)).sum(axis=1)
    at_most[share[:, 0] == 0], at_most[share[:, 0] == 1] = 0.0, 1.0
    return first - 1, np.diff(at_most)
