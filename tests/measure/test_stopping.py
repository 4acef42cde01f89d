from __future__ import annotations

import numpy as np

from bench.measure.stopping import IntervalWithin, NoiseSettled, RoundLimit, first_met


def test_interval_within_waits_for_enough_samples_then_for_a_narrow_interval() -> None:
    criterion = IntervalWithin(0.02, 6)
    assert not criterion.met([1.0] * 5)
    assert criterion.met([1.0] * 6)
    assert not criterion.met([1.0, 1.1, 0.9, 1.0, 1.1, 0.9])
    assert not IntervalWithin(0.02, 20).met([1.0] * 19)


def test_noise_settles_when_the_spread_stays_put_and_not_before() -> None:
    criterion = NoiseSettled(rounds=5, tolerance=0.05)
    steady = list(np.random.default_rng(0).uniform(1, 2, size=300))
    answers = [criterion.met(steady[: n + 1]) for n in range(len(steady))]
    assert not any(answers[:4])
    assert all(answers[200:])


def test_noise_does_not_settle_while_the_spread_grows() -> None:
    criterion = NoiseSettled(rounds=5, tolerance=0.05)
    growing = list(np.cumprod([1.3] * 20))
    assert not any(criterion.met(growing[: n + 1]) for n in range(len(growing)))


def test_round_limit_counts_samples() -> None:
    assert [RoundLimit(3).met([1.0] * n) for n in (2, 3)] == [False, True]


def test_first_met_names_the_first_and_asks_all() -> None:
    settled = NoiseSettled(rounds=2, tolerance=1.0)
    assert first_met([RoundLimit(1), settled], [1.0]) == "rounds"
    assert first_met([RoundLimit(9), settled], [1.0, 1.0]) == "settled"
    assert first_met([RoundLimit(9)], [1.0]) is None
