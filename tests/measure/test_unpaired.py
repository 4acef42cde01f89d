"""Ratios of medians of two sets of samples that share no rounds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from bench.measure.unpaired import independent, unpaired_ratio


def drawn(n: int, seed: int, scale: float = 1.0) -> list[float]:
    return list(scale * np.exp(np.random.default_rng(seed).normal(0, 0.05, n)))


def bursts(n: int, seed: int) -> list[float]:
    """Samples of which each is correlated by a half with the one before."""
    found, noise = [0.0], np.random.default_rng(seed).normal(0, 0.05, n + 50)
    for value in noise:
        found.append(0.5 * found[-1] + value)
    return list(np.exp(found[-n:]))


def alternating(n: int, seed: int, scale: float = 1.0) -> list[float]:
    """Samples of which none resembles the one before: all of them count."""
    ordered = sorted(drawn(n, seed, scale))
    return [ordered[i // 2 if i % 2 else n - 1 - i // 2] for i in range(n)]


@pytest.mark.parametrize("n", [6, 7, 20, 101])
def test_the_closed_form_is_what_resampling_tends_to(n: int) -> None:
    """With an even number of samples it may be wider, never narrower."""
    new, old = alternating(n, 1, 2.0), alternating(n, 2)
    rng = np.random.default_rng(0)
    first, second = (np.median(np.array(x)[rng.integers(0, n, (40_000, n))], axis=1) for x in (new, old))
    low, high = np.quantile(first / second, [0.025, 0.975])
    found = unpaired_ratio(new, old)
    assert found.median == np.median(new) / np.median(old)
    if n % 2:
        assert (found.low, found.high) == pytest.approx((low, high), rel=2e-3)
    else:
        assert 0.94 * low < found.low < 1.002 * low
        assert 0.998 * high < found.high < 1.06 * high


def test_swapping_the_sides_inverts_the_interval() -> None:
    new, old = drawn(20, 1, 1.3), drawn(33, 2)
    forth, back = unpaired_ratio(new, old), unpaired_ratio(old, new)
    assert forth.low is not None
    assert forth.high is not None
    assert (back.median, back.low, back.high) == pytest.approx((1 / forth.median, 1 / forth.high, 1 / forth.low))


def test_more_comparisons_widen_it_up_to_the_range_of_the_samples() -> None:
    new, old = drawn(12, 1), drawn(12, 2)
    widths = [unpaired_ratio(new, old, many) for many in (1, 20, 200, 10**12)]
    assert all(a.low >= b.low and a.high <= b.high for a, b in itertools.pairwise(widths))
    assert widths[0].low > widths[-1].low
    assert widths[-1].low == min(new) / max(old)
    assert widths[-1].high == pytest.approx(max(new) / min(old))


def test_too_few_samples_have_a_median_and_no_bounds() -> None:
    found = unpaired_ratio([2.0] * 5, [1.0] * 50)
    assert (found.median, found.low, found.high) == (2.0, None, None)
    assert math.isnan(unpaired_ratio([], [1.0] * 9).median)
    assert math.isnan(unpaired_ratio([1.0] * 9, [0.0] * 9).median)


@pytest.mark.parametrize(("draw", "allowed"), [(drawn, 0.05), (bursts, 0.07)])
@pytest.mark.parametrize("n", [13, 25, 60])
def test_equal_things_are_told_apart_in_at_most_one_of_twenty(draw: object, allowed: float, n: int) -> None:
    pairs = [unpaired_ratio(draw(n, 2 * seed), draw(n, 2 * seed + 1)) for seed in range(600)]  # type: ignore[operator]
    assert sum(not pair.low <= 1 <= pair.high for pair in pairs) / len(pairs) <= allowed


def test_two_hundred_equal_things_are_all_left_together() -> None:
    pairs = [unpaired_ratio(drawn(12, 2 * seed), drawn(12, 2 * seed + 1), comparisons=200) for seed in range(2000)]
    assert sum(not pair.low <= 1 <= pair.high for pair in pairs) <= 1


def test_samples_that_resemble_their_neighbours_count_less() -> None:
    steady = np.array([float(i % 2) + i / 1e3 for i in range(40)])
    assert independent(steady) == 40
    assert independent(np.arange(1.0, 41.0)) <= 3
    assert independent(np.ones(4)) == 4
    assert independent(np.ones(30)) == 30
    assert independent(np.array([1.0, 1.0, 2.0] * 10)) == 30
    assert 15 < np.mean([independent(np.array(bursts(60, seed))) for seed in range(50)]) < 30


def test_samples_that_are_all_equal_have_a_ratio_without_width() -> None:
    found = unpaired_ratio([3.0] * 40, [2.0] * 40)
    assert (found.low, found.high) == pytest.approx((1.5, 1.5))


def test_thousands_of_samples_are_no_trouble() -> None:
    found = unpaired_ratio(drawn(5000, 1, 1.1), drawn(4000, 2))
    assert 1.09 < found.low < found.median < found.high < 1.11
