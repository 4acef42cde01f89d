"""Ratios of processes: what an interval between two of them misses, at all looks together."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from bench.measure.generations import evidence, least, ratio_within
from bench.measure.stats import Interval


@pytest.mark.parametrize("many", [1, 2, 7, 12])
def test_the_evidence_against_a_fair_coin_is_a_martingale_that_begins_at_one(many: int) -> None:
    heads = [sum(throws) for throws in itertools.product((0, 1), repeat=many)]
    assert sum(evidence(many, below) for below in heads) / len(heads) == pytest.approx(1)
    for below in range(many):
        after = (evidence(many + 1, below) + evidence(many + 1, below + 1)) / 2
        assert after == pytest.approx(evidence(many, below))


@pytest.mark.parametrize("error", [0.05, 0.025, 0.05 / 28])
def test_it_is_ever_large_no_more_often_than_it_may_be(error: float) -> None:
    """Counted out exactly over 200 throws: the share of ways that have met the bound by then."""
    inside: dict[int, Fraction] = {0: Fraction(1)}
    met = Fraction(0)
    for many in range(1, 201):
        after: dict[int, Fraction] = {}
        for below, share in inside.items():
            for now in (below, below + 1):
                if evidence(many, now) >= 1 / error:
                    met += share / 2
                else:
                    after[now] = after.get(now, Fraction(0)) + share / 2
        inside = after
    assert error / 4 < met <= error


def test_an_interval_at_any_look_misses_no_more_often_than_it_may() -> None:
    rng, missed, runs = np.random.default_rng(0), 0, 400
    for _ in range(runs):
        ratios = np.exp(rng.standard_t(2, size=40)).tolist()
        found = [ratio_within(ratios[:many], 0.05) for many in range(2, 41)]
        missed += any(one is not None and not one.low <= 1 <= one.high for one in found)
    assert 0 < missed <= 0.05 * runs


def test_the_narrowest_interval_that_is_sure_enough_is_taken() -> None:
    ratios = [1.9, 1.0, 1.1, 1.2, 1.3, 0.1, 1.4]
    assert ratio_within(ratios, 1 / evidence(7, 1)) == Interval(1.2, 1.0, 1.4)
    assert ratio_within(ratios, 0.99 / evidence(7, 1)) == Interval(1.2, 0.1, 1.9)


def test_too_few_ratios_have_no_interval() -> None:
    assert [least(error) for error in (0.05, 0.05 / 2, 0.05 / 28)] == [7, 8, 12]
    assert ratio_within([1.0] * 6, 0.05) is None
    assert ratio_within([1.0] * 7, 0.05) == Interval(1.0, 1.0, 1.0)
