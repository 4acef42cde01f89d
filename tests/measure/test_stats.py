from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.stats import Interval, independent, median_interval, noise_floor, paired_ratio, relative_spread
from bench.measure.stopping import IntervalWithin, NoiseSettled, RoundLimit, first_met
from bench.report.frame import verdict

TIMES = st.lists(st.floats(0.01, 1e3), min_size=6, max_size=60)


def to_and_fro(n: int) -> list[float]:
    """The numbers 1 to n, neighbours on different sides of their median."""
    return [float(number) for pair in zip(range(1, n + 1), range(n, 0, -1), strict=True) for number in pair][:n]


def autoregressive(r: float, n: int, series: int, seed: int, sd: float = 0.03) -> np.ndarray:
    """Times around 1, one series a row, whose neighbours have the correlation `r`."""
    noise = np.random.default_rng(seed).standard_normal((series, n))
    for place in range(1, n):
        noise[:, place] = r * noise[:, place - 1] + math.sqrt(1 - r * r) * noise[:, place]
    return np.exp(sd * noise)


def covered(intervals: list[Interval]) -> float:
    """Share of the intervals that hold 1."""
    return sum(low <= 1 <= high for low, high in ((i.low, i.high) for i in intervals)) / len(intervals)


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (50, 18), (100, 40)])
def test_median_interval_of_independent_samples_uses_the_tabulated_ranks(n: int, rank: int) -> None:
    interval = median_interval(to_and_fro(n))
    assert (interval.low, interval.high) == (rank, n + 1 - rank)


@pytest.mark.parametrize("n", [400, 501, 2000, 5000])
def test_long_series_keep_the_coverage_and_little_more(n: int) -> None:
    rank = int(median_interval(to_and_fro(n)).low)
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
    ratio = paired_ratio(list(2.0 * drift), list(drift))
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize("n", [20, 100])
@pytest.mark.parametrize(("r", "least"), [(0.0, 0.95), (0.5, 0.92), (0.8, 0.88)])
def test_intervals_cover_the_median_although_neighbours_resemble_each_other(n: int, r: float, least: float) -> None:
    ours, theirs = autoregressive(r, n, 1500, seed=1), autoregressive(r, n, 1500, seed=2)
    assert covered([median_interval(one) for one in ours]) >= least
    assert covered([paired_ratio(one, other) for one, other in zip(ours, theirs, strict=True)]) >= least


@pytest.mark.parametrize(("r", "least"), [(0.0, 0.93), (0.5, 0.92)])
def test_the_stopping_rule_does_not_stop_where_samples_happen_to_lie_close_together(r: float, least: float) -> None:
    assert covered([stopped(series) for series in autoregressive(r, 100, 600, seed=3)]) >= least


def stopped(series: np.ndarray) -> Interval:
    """The interval at which sampling would have ended."""
    criteria = [IntervalWithin(0.02, 20), NoiseSettled(20, 0.05), RoundLimit(100)]
    ends = (n for n in range(1, len(series) + 1) if first_met(criteria, series[:n]))
    return median_interval(series[: next(ends)])


def test_two_copies_are_called_different_in_one_of_fifty_at_most() -> None:
    members, references, twins = (autoregressive(0.5, 20, 1500, seed) for seed in (4, 5, 6))
    wrong = 0
    for member, reference, twin in zip(members, references, twins, strict=True):
        ratio, floor = paired_ratio(member, reference), noise_floor(paired_ratio(twin, reference))
        wrong += verdict("copy", "nl", ratio.median, ratio.low, ratio.high, floor) in ("faster", "slower")
    assert wrong / len(members) <= 0.02


def test_independent_samples_are_as_many_as_there_are_and_others_fewer() -> None:
    assert independent(np.asarray(to_and_fro(40))) == 40
    assert independent(np.ones(40)) == 40
    assert independent(np.arange(40.0)) == 1
    counts = [independent(series) for series in autoregressive(0.5, 200, 300, seed=7)]
    assert np.mean(counts) == pytest.approx(200 / 3, rel=0.1)
    assert [independent(np.arange(float(n))) for n in (0, 1, 5)] == [1, 1, 5]


def test_paired_ratio_brackets_its_median_and_needs_six_rounds() -> None:
    rng = np.random.default_rng(3)
    ratio = paired_ratio(rng.lognormal(size=30), rng.lognormal(size=30))
    assert ratio.low < ratio.median < ratio.high
    assert paired_ratio([1.0] * 5, [2.0] * 5) == Interval(0.5, None, None)


def test_noise_floor_is_the_farther_end_of_the_twin_interval() -> None:
    assert noise_floor(Interval(1.0, 0.97, 1.01)) == pytest.approx(1 / 0.97 - 1)
    assert noise_floor(Interval(1.0, 0.99, 1.05)) == pytest.approx(0.05)
    assert noise_floor(Interval(1.0, None, None)) is None


def test_relative_spread_is_the_interquartile_range_over_the_median() -> None:
    assert relative_spread([1, 2, 3, 4, 5]) == pytest.approx(2 / 3)
    assert relative_spread([2.0] * 9) == 0
