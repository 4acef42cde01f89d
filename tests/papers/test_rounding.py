from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.papers.rounding import increment_agrees, rounded
from modules.options import SpecError

DIGITS = st.integers(0, 6)
FIGURES = st.floats(-1e9, 1e9, allow_nan=False)


def printed(figure: float, digits: int, rounding: str) -> str:
    return str(Decimal(repr(figure)).quantize(Decimal(1).scaleb(-digits), rounding))


@pytest.mark.parametrize(
    ("ours", "published", "verdict"),
    [
        *((42.455, "42.45", "exact"), (42.455, "42.46", "exact"), (42.4551, "42.45", "truncated")),
        *((58.0127, "58.0", "exact"), (15.5336, "15.5", "exact"), (55.2306, "43.5", "off")),
        *((609.014, "609", "exact"), (609.014, "609.0", "exact"), (609.06, "609.0", "truncated")),
        *((601.96, "601.9", "truncated"), (601.96, "602.0", "exact"), (601.8499, "601.9", "off")),
        *((-0.07, "-0.0", "truncated"), (-3.49, "-3.4", "truncated"), (3.4, "-3.4", "off"), (0.4, "+0.4", "exact")),
        *((0.2, "0", "exact"), (0.9, "0", "truncated"), (1.0, "0", "off"), (104, "1.0e2", "exact")),
    ],
)
def test_figures_agree_within_the_digits_that_are_printed(ours: float, published: str, verdict: str) -> None:
    assert rounded(ours, published) == verdict


@given(FIGURES, DIGITS, st.sampled_from([ROUND_HALF_EVEN, ROUND_HALF_UP]))
def test_what_was_rounded_is_exact(figure: float, digits: int, rounding: str) -> None:
    assert rounded(figure, printed(figure, digits, rounding)) == "exact"


@given(FIGURES, DIGITS)
def test_what_was_cut_off_is_exact_or_truncated(figure: float, digits: int) -> None:
    cut, nearest = (printed(figure, digits, how) for how in (ROUND_DOWN, ROUND_HALF_UP))
    ties = abs(Decimal(repr(figure)) - Decimal(cut)) * 2 == Decimal(1).scaleb(-digits)
    assert rounded(figure, cut) == ("exact" if ties or Decimal(cut) == Decimal(nearest) else "truncated")


@given(FIGURES, DIGITS)
def test_what_was_rounded_away_from_zero_is_never_truncated(figure: float, digits: int) -> None:
    up = printed(figure, digits, ROUND_UP)
    near = abs(Decimal(up) - Decimal(repr(figure))) * 2 <= Decimal(1).scaleb(-digits)
    assert rounded(figure, up) == ("exact" if near else "off")


@given(FIGURES, DIGITS, st.integers(1, 1000))
def test_what_is_a_unit_or_more_away_is_off(figure: float, digits: int, steps: int) -> None:
    gap = steps * Decimal(1).scaleb(-digits)
    above, below = (Decimal(printed(figure, digits, how)) for how in (ROUND_CEILING, ROUND_FLOOR))
    assert rounded(figure, str(above + gap if figure >= 0 else above + gap + 1)) == "off"
    assert rounded(figure, str(below - gap - 1 if figure >= 0 else below - gap)) == "off"


@given(FIGURES, DIGITS)
def test_sign_does_not_matter_when_both_change(figure: float, digits: int) -> None:
    text = printed(figure, digits, ROUND_FLOOR)
    assert rounded(figure, text) == rounded(-figure, str(-Decimal(text)))


@pytest.mark.parametrize("published", ["", "12M", "1,024", "nan", "inf", "3/4"])
def test_a_published_figure_is_a_number(published: str) -> None:
    with pytest.raises(SpecError, match=r"must be a decimal number such as 58\.0, not "):
        rounded(1.0, published)


@pytest.mark.parametrize("ours", [float("nan"), float("inf")])
def test_a_figure_of_ours_is_finite(ours: float) -> None:
    with pytest.raises(SpecError, match="must be finite"):
        rounded(ours, "1.0")


@pytest.mark.parametrize(
    ("ours", "published", "base", "agrees"),
    [
        *((0.1, "279.6", "279.4", True), (0.3, "279.6", "279.4", True), (0.0999, "279.6", "279.4", False)),
        *((0.3001, "279.6", "279.4", False), (0.1, "279.4", "279.4", True), (0.1001, "279.4", "279.4", False)),
        *((-0.1, "279.4", "279.4", True), (0.02, "39.32", "39.29", True), (0.019, "39.32", "39.29", False)),
        *((0.25, "2.2", "2", True), (0.75, "2.2", "2", True), (0.751, "2.2", "2", False)),
    ],
)
def test_an_increment_is_known_to_half_a_unit_of_both_totals(
    ours: float, published: str, base: str, agrees: bool
) -> None:
    assert increment_agrees(ours, published, base) is agrees


def test_an_increment_is_of_finite_figures() -> None:
    with pytest.raises(SpecError, match="must be finite"):
        increment_agrees(float("nan"), "1.0", "0.9")
    with pytest.raises(SpecError, match="must be a decimal number"):
        increment_agrees(0.1, "1.0", "")


@given(st.integers(-(10**8), 10**8), st.integers(-(10**8), 10**8), st.integers(0, 3))
def test_an_increment_of_two_totals_rounded_to_what_is_printed_agrees(first: int, second: int, digits: int) -> None:
    totals = [printed(total / 10**4, digits, ROUND_HALF_UP) for total in (first, second)]
    assert increment_agrees((first - second) / 10**4, *totals)
