"""Processes: what a case takes between independent processes, and the ratio of two sets of them.

A process is faster or slower than the next for as long as it lives, by how its memory came to lie. So samples of one
process say how sure its own median is, and only further processes say how far the next one may lie.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from bench.distributions import student
from bench.measure.stats import CONFIDENCE, Interval

LEAST = 3
"""Processes that give an interval between processes."""


def between(figures: Sequence[float], error: float = 1 - CONFIDENCE) -> Interval | None:
    """Student's interval of the typical figure of a process, in logarithms; null for fewer than `LEAST` processes.

    Args:
        figures: positive, one a process: medians in ms, or ratios.
        error: how often the interval may miss.

    Returns:
        The median of the figures; the bounds are those of their geometric mean.
    """
    if len(figures) < LEAST:
        return None
    logs = [math.log(figure) for figure in figures]
    arm = student(len(logs) - 1, error) * statistics.stdev(logs) / math.sqrt(len(logs))
    middle = statistics.fmean(logs)
    return Interval(statistics.median(figures), math.exp(middle - arm), math.exp(middle + arm))


def ratio_between(new: Sequence[float], old: Sequence[float], error: float = 1 - CONFIDENCE) -> Interval | None:
    """Ratio of the geometric means of two sets of processes with Student's interval, both sides' spread pooled.

    Args:
        new, old: medians in the same unit, one a process.
        error: how often the interval may miss.

    Returns:
        Null where a side has fewer than `LEAST` processes.
    """
    if min(len(new), len(old)) < LEAST:
        return None
    sides = [[math.log(figure) for figure in figures] for figures in (new, old)]
    freedom = len(new) + len(old) - 2
    pooled = sum((len(logs) - 1) * statistics.variance(logs) for logs in sides) / freedom
    arm = student(freedom, error) * math.sqrt(pooled * (1 / len(new) + 1 / len(old)))
    apart = statistics.fmean(sides[0]) - statistics.fmean(sides[1])
    return Interval(math.exp(apart), math.exp(apart - arm), math.exp(apart + arm))
