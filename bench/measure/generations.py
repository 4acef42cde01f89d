"""Generations: ratios of pairs of processes, one ratio a pair, and how sure their median is when they are looked at.

A process is faster or slower than its twin for as long as it lives, by how its memory came to lie. So samples of one
pair tell nothing of the next, and the pairs are what is independent. The interval of their median needs no
distribution: its ends are two of the ratios themselves, and what it misses is counted out by coin throws.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.measure.stats import Interval


@dataclass(frozen=True)
class Look:
    """One look at the ratios so far.

    Attributes:
        generations: G, how many there are then.
        rank: k; the interval goes from the k-th smallest ratio to the k-th largest.
    """

    generations: int
    rank: int

    @property
    def error(self) -> float:
        """How often the interval misses the median: P(B < k or B > G - k), B ~ Binomial(G, 1/2)."""
        below = sum(math.comb(self.generations, count) for count in range(self.rank))
        return math.ldexp(below, 1 - self.generations)


LOOKS = (Look(6, 1), Look(9, 1), Look(14, 3))
"""A case that is decided at one look is not measured for the next. Together they miss in less than 5 %."""


def ratio_at(look: Look, ratios: Sequence[float]) -> Interval:
    """Median of the ratios of `look.generations` pairs of processes, with its interval.

    Raises:
        ValueError: another number of ratios.
    """
    if len(ratios) != look.generations:
        raise ValueError(f"{len(ratios)} ratios at a look at {look.generations}")
    ordered = sorted(ratios)
    return Interval(statistics.median(ordered), ordered[look.rank - 1], ordered[-look.rank])
