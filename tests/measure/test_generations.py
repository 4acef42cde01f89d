"""Ratios of pairs of processes: what an interval between two of them misses, once and over all looks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.measure.generations import LOOKS, Look, ratio_at


@pytest.mark.parametrize("look", [Look(1, 1), Look(4, 1), Look(5, 2), Look(9, 3)])
def test_the_error_is_that_of_coin_throws(look: Look) -> None:
    missed = sum(
        not look.rank <= sum(throws) <= look.generations - look.rank
        for throws in itertools.product((0, 1), repeat=look.generations)
    )
    assert look.error == missed / 2**look.generations


def test_all_looks_together_miss_in_less_than_a_twentieth() -> None:
    assert sum(look.error for look in LOOKS) < 0.05
    assert [look.generations for look in LOOKS] == sorted(look.generations for look in LOOKS)


def test_looking_at_equal_processes_three_times_rarely_finds_a_difference() -> None:
    noise = np.exp(np.random.default_rng(0).standard_t(2, size=(4000, LOOKS[-1].generations)))
    missed = 0
    for ratios in noise:
        intervals = [ratio_at(look, ratios[: look.generations].tolist()) for look in LOOKS]
        missed += any(not interval.low <= 1 <= interval.high for interval in intervals)
    assert 0.02 < missed / len(noise) < 0.05


def test_the_interval_lies_between_two_of_the_ratios() -> None:
    interval = ratio_at(Look(5, 2), [1.3, 1.0, 1.2, 9.0, 1.1])
    assert (interval.median, interval.low, interval.high) == (1.2, 1.1, 1.3)


def test_a_look_at_another_number_of_ratios_is_refused() -> None:
    with pytest.raises(ValueError, match="5 ratios at a look at 6"):
        ratio_at(Look(6, 1), [1.0] * 5)
