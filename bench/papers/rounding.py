"""Rounding: does a figure of ours print as the published one?"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal

from modules.options import SpecError


def rounded(ours: float, published: str) -> Literal["exact", "truncated", "off"]:
    """How a figure of ours, cut to the digits that a paper prints, agrees with what it prints.

    `exact`: at most half a unit of the last printed digit away, so that a tie agrees either way (42.455 with 42.45 and
    42.46). `truncated`: the printed digits are those of ours and the rest was dropped instead of rounded. A float
    stands for its shortest decimal spelling.

    Args:
        ours: the recounted figure, in the published unit.
        published: the figure exactly as printed, such as `609`, `58.0` or `+0.4`: its digits decide.

    Raises:
        SpecError: `published` is not a decimal number, or `ours` is not finite.
    """
    printed = _decimal(published)
    if not math.isfinite(ours):
        raise SpecError(f"a figure to compare must be finite, not {ours}")
    value, target = Fraction(repr(float(ours))), Fraction(printed)
    unit = Fraction(10) ** int(printed.as_tuple().exponent)
    if abs(value - target) <= unit / 2:
        return "exact"
    same_side = value * target > 0 or target == 0
    dropped = abs(value) - abs(target)
    return "truncated" if same_side and 0 <= dropped < unit else "off"


def increment_agrees(ours: float, published: str, base: str) -> bool:
    """Whether an increment of ours can be that between two printed totals.

    Each total is up to half a unit of its last digit away from what was rounded, so that their difference is known to
    half a unit of both together: between 279.4 and 279.6 lie 0.1 to 0.3.

    Raises:
        SpecError: as `rounded`.
    """
    printed = [_decimal(text) for text in (published, base)]
    if not math.isfinite(ours):
        raise SpecError(f"a figure to compare must be finite, not {ours}")
    units = sum(Fraction(10) ** int(total.as_tuple().exponent) for total in printed)
    between = Fraction(printed[0]) - Fraction(printed[1])
    return abs(Fraction(repr(float(ours))) - between) <= units / 2


def _decimal(published: str) -> Decimal:
    try:
        printed = Decimal(published)
    except InvalidOperation:
        printed = Decimal("nan")
    if not printed.is_finite():
        raise SpecError(f"a published figure must be a decimal number such as 58.0, not {published!r}")
    return printed
