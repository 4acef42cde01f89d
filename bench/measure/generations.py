"""Generations: ratios of new to old time, one ratio a process (or pair of processes), and how sure their median is.

A process is faster or slower than its twin for as long as it lives, by how its memory came to lie. So samples of one
process tell nothing of the next, and the processes are what counts. In each, a coin decides which tree goes first in
everything. If the new tree takes `m` times as long as the old one, its ratio is then as likely above `m` as below,
whatever the noise is like: number of ratios below the median is a count of coin throws, and needs no distribution of
times. The bound on that count holds at every number of throws together, so it may be looked at after each.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

from bench.measure.stats import Interval


def ratio_within(ratios: Sequence[float], error: float) -> Interval | None:
    """Median of the ratios so far, with the narrowest interval from one of them to another that is sure enough.

    Args:
        ratios: at least one.
        error: how often the median of all ratios that there could be may lie outside of the interval at any look,
            however many looks there are.

    Returns:
        Null where even the range of all ratios is not sure enough.
    """
    ordered = sorted(ratios)
    ranks = [rank for rank in range(1, len(ordered) // 2 + 1) if evidence(len(ordered), rank - 1) >= 1 / error]
    if not ranks:
        return None
    return Interval(statistics.median(ordered), ordered[ranks[-1] - 1], ordered[-ranks[-1]])


def evidence(many: int, below: int) -> float:
    """How much likelier so many heads among `many` throws are with a coin of unknown bias than with a fair one.

    The bias is drawn from Beta(1/2, 1/2). Of a fair coin this ratio is a martingale that begins at 1, so that it ever
    reaches 1 / e with probability e at most (Ville's inequality; Robbins, 1970).
    """
    heads, tails = below + 0.5, many - below + 0.5
    return math.exp(many * math.log(2) + math.lgamma(heads) + math.lgamma(tails) - math.lgamma(many + 1)) / math.pi


def least(error: float) -> int:
    """The fewest ratios that bound their median so surely."""
    return next(many for many in itertools.count(2) if evidence(many, 0) >= 1 / error)
