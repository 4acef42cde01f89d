"""Intervals of a handful of seeds, against tables and by exact sums."""

from __future__ import annotations

import numpy as np
import pytest

from bench.report.few_seeds import at_least, holm, median_coverage, median_rank, share_interval


@pytest.mark.parametrize(
    ("arrived", "seeds", "low", "high"),
    [
        (0, 3, 0.0, 0.631597),
        (3, 3, 0.368403, 1.0),
        (4, 5, 0.342592, 0.989794),
        (5, 5, 0.549280, 1.0),
        (7, 8, 0.529321, 0.993609),
    ],
)
def test_the_interval_of_a_share_is_clopper_and_pearsons(arrived: int, seeds: int, low: float, high: float) -> None:
    assert share_interval(arrived, seeds) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 8, 12])
def test_each_end_of_it_is_missed_in_a_twentieth_at_most_whatever_the_share(seeds: int) -> None:
    intervals = [share_interval(arrived, seeds) for arrived in range(seeds + 1)]
    for share in np.linspace(0.01, 0.99, 99):
        chances = [at_least(k, seeds, share) - at_least(k + 1, seeds, share) for k in range(seeds + 1)]
        pairs = list(zip(chances, intervals, strict=True))
        assert sum(chance for chance, (low, _) in pairs if low > share) <= 0.05 + 1e-12
        assert sum(chance for chance, (_, high) in pairs if high < share) <= 0.05 + 1e-12


def test_holm_steps_down_and_stops_at_the_first_that_fails() -> None:
    assert holm({"a": 0.01, "b": 0.02, "c": 0.04}) == {"a", "b", "c"}
    assert holm({"a": 0.017, "b": 0.001, "c": 0.03}) == {"a", "b", "c"}
    assert holm({"a": 0.01, "b": 0.026, "c": 0.027}) == {"a"}
    assert holm({"a": 0.017, "b": 0.02, "c": 0.03}) == set()
    assert holm({}) == set()


def test_the_range_for_the_median_is_the_narrowest_of_95_percent_or_the_whole() -> None:
    assert [median_rank(seeds) for seeds in (1, 2, 3, 5, 8, 9, 11, 12, 20)] == [1, 1, 1, 1, 1, 2, 2, 3, 6]
    assert [median_coverage(seeds) for seeds in (2, 3, 4, 5, 6, 8)] == pytest.approx(
        [0.5, 0.75, 0.875, 0.9375, 0.96875, 0.9921875]
    )
    assert median_coverage(9) == pytest.approx(1 - 2 * 10 / 2**9)
