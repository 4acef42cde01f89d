from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.stats import Interval, median_interval, noise_floor, paired_ratio, relative_spread

TIMES = st.lists(st.floats(0.01, 1e3), min_size=6, max_size=60)


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (50, 18), (100, 40)])
def test_median_interval_uses_the_tabulated_ranks(n: int, rank: int) -> None:
    interval = median_interval([float(i) for i in range(1, n + 1)])
    assert (interval.low, interval.high) == (rank, n + 1 - rank)


@pytest.mark.parametrize("n", [400, 501, 2000, 5000])
def test_long_series_keep_the_coverage_and_little_more(n: int) -> None:
    rank = int(median_interval(np.arange(1, n + 1, dtype=float)).low)
    outside = [2 * sum(math.comb(n, k) for k in range(r)) / 2**n for r in (rank, rank + 2)]
    assert outside[0] <= 0.05 < outside[1]


@pytest.mark.parametrize("n", range(1, 6))
def test_fewer_than_six_samples_bound_no_median(n: int) -> None:
    interval = median_interval([1.0] * n)
    assert interval.low is None
    assert interval.high is None
    assert math.isinf(interval.relative_half_width)


def test_median_interval_covers_the_true_median_at_95_percent() -> None:
    draws = np.random.default_rng(0).lognormal(size=(2000, 15))
    hits = sum(low <= 1.0 <= high for low, high in ((i.low, i.high) for i in map(median_interval, draws)))
    assert hits / 2000 >= 0.95


@given(TIMES)
def test_median_lies_within_its_interval_which_lies_within_the_samples(times: list[float]) -> None:
    interval = median_interval(times)
    assert min(times) <= interval.low <= interval.median <= interval.high <= max(times)


def test_paired_ratio_ignores_drift_that_both_share() -> None:
    drift = np.linspace(1, 3, 40)
    ratio = paired_ratio(list(2.0 * drift), list(drift), resamples=500, seed=1)
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((2.0, 2.0, 2.0))


def test_paired_ratio_is_the_same_for_the_same_seed_and_brackets_its_median() -> None:
    rng = np.random.default_rng(3)
    ours, reference = rng.lognormal(size=30), rng.lognormal(size=30)
    first, again = (paired_ratio(ours, reference, 500, seed=7) for _ in range(2))
    assert first == again
    assert first.low < first.median < first.high


def test_noise_floor_is_the_farther_end_of_the_twin_interval() -> None:
    assert noise_floor(Interval(1.0, 0.97, 1.01)) == pytest.approx(1 / 0.97 - 1)
    assert noise_floor(Interval(1.0, 0.99, 1.05)) == pytest.approx(0.05)
    assert noise_floor(Interval(1.0, None, None)) is None


def test_relative_spread_is_the_interquartile_range_over_the_median() -> None:
    assert relative_spread([1, 2, 3, 4, 5]) == pytest.approx(2 / 3)
    assert relative_spread([2.0] * 9) == 0
