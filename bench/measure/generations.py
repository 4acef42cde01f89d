"""Generations: ratios of pairs of processes, one ratio a pair, and how sure their median is.

A process is faster or slower than its twin for as long as it lives, by how its memory came to lie. So samples of one
pair tell nothing of the next, and the pairs are what is independent. The interval of their median needs no
distribution: its ends are two of the ratios themselves, and what it misses is counted out by coin throws.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bench.measure.stats import Interval


def ratio_within(ratios: Sequence[float], error: float) -> Interval | None:
    """Median of the ratios, with the narrowest interval from one of them to another that is sure enough.

    Args:
        ratios: at least one.
        error: how often the interval may miss the median of all ratios that there could be.

    Returns:
        Null where even the range of all of them misses it more often.
    """
    ordered = sorted(ratios)
    ranks = [rank for rank in range(1, len(ordered) // 2 + 1) if missed(len(ordered), rank) <= error]
    if not ranks:
        return None
    return Interval(statistics.median(ordered), ordered[ranks[-1] - 1], ordered[-ranks[-1]])


def missed(many: int, rank: int) -> float:
    """How often the median lies outside of the rank-th smallest to the rank-th largest of so many.

    P(B < rank or B > many - rank), B ~ Binomial(many, 1/2).
    """
    return math.ldexp(sum(math.comb(many, below) for below in range(rank)), 1 - many)
