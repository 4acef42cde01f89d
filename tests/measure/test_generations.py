"""Ratios of pairs of processes: what an interval between two of them misses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.measure.generations import missed, ratio_within
from bench.measure.stats import Interval


@pytest.mark.parametrize(("many", "rank"), [(1, 1), (4, 1), (5, 2), (9, 3), (9, 4)])
def test_what_is_missed_is_that_of_coin_throws(many: int, rank: int) -> None:
    outside = sum(not rank <= sum(throws) <= many - rank for throws in itertools.product((0, 1), repeat=many))
    assert missed(many, rank) == outside / 2**many


@pytest.mark.parametrize(("many", "error"), [(6, 0.05), (10, 0.05), (10, 0.005), (14, 0.005)])
def test_the_interval_misses_no_more_often_than_it_may(many: int, error: float) -> None:
    noise = np.exp(np.random.default_rng(0).standard_t(2, size=(20000, many)))
    found = [ratio_within(ratios, error) for ratios in noise.tolist()]
    assert 0 < sum(not interval.low <= 1 <= interval.high for interval in found if interval) <= 1.1 * error * len(noise)


def test_the_narrowest_interval_that_is_sure_enough_is_taken() -> None:
    ratios = [1.9, 1.0, 1.1, 1.2, 1.3, 0.1, 1.4]
    assert ratio_within(ratios, missed(7, 2)) == Interval(1.2, 1.0, 1.4)
    assert ratio_within(ratios, missed(7, 2) - 1e-9) == Interval(1.2, 0.1, 1.9)


def test_too_few_ratios_have_no_interval() -> None:
    assert ratio_within([1.0] * 5, 0.05) is None
    assert ratio_within([1.0], 1.0) is None
