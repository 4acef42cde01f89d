from __future__ import annotations

import math

import numpy as np
import pytest

from bench.measure.processes import between, ratio_between


def test_fewer_than_three_processes_give_no_interval() -> None:
    assert between([1.0, 1.1]) is None
    assert ratio_between([1.0, 1.1], [1.0, 1.0, 1.0]) is None
    assert ratio_between([1.0, 1.1, 1.0], [1.0, 1.0]) is None


def test_the_interval_between_processes_follows_from_their_logarithms() -> None:
    found = between([1.0, math.e, math.e**2])
    arm = 4.3027 / math.sqrt(3)
    assert found is not None
    assert found.median == pytest.approx(math.e)
    assert (found.low, found.high) == pytest.approx((math.exp(1 - arm), math.exp(1 + arm)), rel=1e-4)


@pytest.mark.parametrize(("processes", "offset"), [(3, 0.02), (3, 0.05), (5, 0.05)])
def test_intervals_between_processes_cover_what_processes_share(processes: int, offset: float) -> None:
    draws = np.exp(offset * np.random.default_rng(0).standard_normal((2, 3000, processes)))
    single = [between(figures) for figures in draws[0].tolist()]
    ratios = [ratio_between(*sides) for sides in zip(draws[0].tolist(), draws[1].tolist(), strict=True)]
    for found in (single, ratios):
        assert sum(one.low <= 1 <= one.high for one in found if one is not None) / 3000 >= 0.94
