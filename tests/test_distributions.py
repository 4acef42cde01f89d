"""Student's t against printed tables."""

from __future__ import annotations

import math

import pytest

from bench.distributions import student, student_above

TABLE = {1: 12.7062, 2: 4.30265, 3: 3.18245, 4: 2.77645, 5: 2.57058, 10: 2.22814, 20: 2.08596, 60: 2.00030}
"""97.5 % quantiles as they are printed, by degrees of freedom."""


@pytest.mark.parametrize(("freedom", "quantile"), TABLE.items())
def test_student_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    assert student_above(quantile, freedom) == pytest.approx(0.025, abs=2e-6)
    assert student_above(-quantile, freedom) == pytest.approx(0.975, abs=2e-6)
    assert student_above(0.0, freedom) == 0.5
    assert student_above(math.inf, freedom) == pytest.approx(0.0, abs=1e-15)
    assert student(freedom, 0.05) == pytest.approx(quantile, rel=2e-5)


def test_far_quantiles_are_those_of_the_tables() -> None:
    assert student(4, 0.002) == pytest.approx(7.1732, abs=5e-5)
    assert student(30, 0.01) == pytest.approx(2.7500, abs=5e-5)
