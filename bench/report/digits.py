"""Numbers as a reader wants them: three significant digits, k/M/G for counts, a dash for what was not measured."""

from __future__ import annotations

import math
from typing import Any

MISSING = "\N{EN DASH}"
_UNITS = ("", "k", "M", "G", "T")


def number(value: Any) -> float | None:
    """The value as a float, or None for anything that stands for "not measured" (None, NaN, pandas' NA, text)."""
    try:
        figure = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(figure) else figure


def significant(value: Any, digits: int = 3) -> str:
    """Three significant digits; digits before the point are never rounded away, a tiny figure never becomes 0."""
    figure = number(value)
    if figure is None:
        return MISSING
    if figure == 0 or math.isinf(figure):
        return f"{figure:.0f}"
    if abs(figure) < 1e-4:
        return f"{figure:.{digits - 1}e}"
    return f"{figure:.{_decimals(figure, digits)}f}"


def count(value: Any) -> str:
    """A count with a decimal unit: 512, 525k, 2.10M."""
    figure = number(value)
    if figure is None:
        return MISSING
    for unit in _UNITS:
        rounded = float(f"{figure:.3g}")
        if abs(rounded) < 1000 or unit == _UNITS[-1]:
            return f"{figure:g}" if not unit else f"{figure:.{_decimals(figure, 3)}f}{unit}"
        figure /= 1000
    raise AssertionError("unreachable: the last unit takes every figure")


def plus_minus(value: Any, half: Any) -> str:
    """`12.3 ± 0.2`: the half width has the decimals of the value, or one significant digit where it is smaller; where
    it is above the value itself, `± >100 %`."""
    figure, arm = number(value), number(half)
    if figure is None:
        return MISSING
    if arm is None:
        return significant(figure)
    if arm > abs(figure):
        return f"{significant(figure)} ± >100 %"
    decimals = _decimals(figure, 3) if abs(figure) >= 1e-4 else 0
    fixed = f"{arm:.{decimals}f}"
    return f"{significant(figure)} ± {fixed if float(fixed) or arm == 0 else significant(arm, 1)}"


def percent(value: Any) -> str:
    """A relative figure (0.03) in percent (`3.0 %`)."""
    figure = number(value)
    return MISSING if figure is None else f"{100 * figure:.1f} %"


def times(value: Any) -> str:
    """A ratio as `0.52x`, with three significant digits below a tenth."""
    figure = number(value)
    if figure is None:
        return MISSING
    return f"{figure:.2f}x" if 0.1 <= figure < 10 or figure == 0 else f"{significant(figure)}x"


def _decimals(figure: float, digits: int) -> int:
    """Decimals that leave `digits` significant digits after rounding, none below the point for large figures."""
    if figure == 0:
        return 0
    rounded = float(f"{figure:.{digits - 1}e}")
    return max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
