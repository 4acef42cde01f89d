"""Numbers for readers."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from bench.report.digits import MISSING, count, number, plus_minus, significant, times


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((0, "0"), (12.345, "12.3"), (1.0, "1.00"), (9.999, "10.0"), (99.96, "100"), (123.4, "123")),
        *((1234.5, "1234"), (0.012345, "0.0123"), (0.00001234, "1.23e-05"), (-2.5, "-2.50")),
        *((None, MISSING), (float("nan"), MISSING), (pd.NA, MISSING)),
    ],
)
def test_three_significant_digits(value: Any, shown: str) -> None:
    assert significant(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (512, "512"), (525_312, "525k"), (999_999, "1.00M"), (2_098_176, "2.10M"), (None, MISSING)],
)
def test_counts_have_units(value: Any, shown: str) -> None:
    assert count(value) == shown


@pytest.mark.parametrize(
    ("value", "half", "shown"),
    [
        *((12.34, 0.21, "12.3 ± 0.2"), (12.34, 0.004, "12.3 ± 0.004"), (1234.4, 12.3, "1234 ± 12")),
        *((0.0123, 0.0004, "0.0123 ± 0.0004"), (12.3, None, "12.3"), (None, None, MISSING), (1.0, 0.0, "1.00 ± 0.00")),
        *((1.79, 98.21, "1.79 ± >100 %"), (1.79, 1.79, "1.79 ± 1.79"), (0.00002, 0.1, "2.00e-05 ± >100 %")),
    ],
)
def test_intervals_are_never_zero_unless_they_are(value: Any, half: Any, shown: str) -> None:
    assert plus_minus(value, half) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.52, "0.52x"), (0.0123, "0.0123x"), (12.34, "12.3x"), (None, MISSING)])
def test_ratios(value: Any, shown: str) -> None:
    assert times(value) == shown


def test_number_reads_what_stands_for_nothing_as_none() -> None:
    assert [number(value) for value in (None, pd.NA, float("nan"), "text", 3)] == [None, None, None, None, 3.0]
