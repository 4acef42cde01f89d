"""What a handful of seeds allows to be said: intervals and tests that hold at two to ten of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

ERROR = 0.05
"""Allowed probability of a wrong verdict, and of missing an end of the interval of a share."""
CONFIDENCE = 0.95

Name = TypeVar("Name", bound=Hashable)


def share_interval(arrived: int, seeds: int) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a share: each end is missed in at most 5 %, whatever the share is.

    Exact rather than Wilson's, since a verdict hangs on its ends: Wilson's lower end at three of three seeds is 0.53,
    which a coin passes in 12.5 %; this one's is 0.37.

    Args:
        arrived: seeds in which something happened.
        seeds: all of them, at least 1.
    """
    low = 0.0 if arrived == 0 else _share_where(lambda share: at_least(arrived, seeds, share) < ERROR)
    high = 1.0 if arrived == seeds else _share_where(lambda share: 1 - at_least(arrived + 1, seeds, share) > ERROR)
    return low, high


def at_least(arrived: int, seeds: int, share: float) -> float:
    """Probability that at least so many of the seeds arrive, each with probability `share`."""
    ways = (math.comb(seeds, k) * share**k * (1 - share) ** (seeds - k) for k in range(arrived, seeds + 1))
    return math.fsum(ways)


def holm(found: Mapping[Name, float], error: float = ERROR) -> set[Name]:
    """The names of those tests that reject, so that any wrong rejection at all has at most the probability `error`.

    Holm's step-down: the smallest of m values must be at most error / m, the next error / (m - 1), and so on. It holds
    for tests that depend on each other, as those of one baseline do.

    Args:
        found: p-values by name.
        error: for all tests together.
    """
    rejected: set[Name] = set()
    for name in sorted(found, key=lambda one: found[one]):
        if found[name] > error / (len(found) - len(rejected)):
            break
        rejected.add(name)
    return rejected


def median_rank(seeds: int) -> int:
    """The k for which the k-th lowest to k-th highest seed is the range that is given for the median.

    The largest k that covers it in 95 %; 1, the whole range, where there is none or the whole range covers less.
    """
    return max((k for k in range(1, (seeds + 1) // 2 + 1) if median_coverage(seeds, k) >= CONFIDENCE), default=1)


def median_coverage(seeds: int, rank: int | None = None) -> float:
    """Probability that the range from k-th lowest to k-th highest seed holds the median, of whatever distribution.

    Args:
        seeds: number of seeds.
        rank: k; null for `median_rank`.
    """
    k = median_rank(seeds) if rank is None else rank
    return 1 - 2 * (1 - at_least(k, seeds, 0.5))


def _share_where(below: Callable[[float], bool]) -> float:
    """The share between 0 and 1 at which a condition that holds for small shares ceases to hold."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low
