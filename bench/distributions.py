"""Distributions: Student's t for whole degrees of freedom. Needs neither torch nor any other room."""

from __future__ import annotations

import functools
import math


def student_above(t: float, freedom: int) -> float:
    """Probability that Student's t with so many degrees of freedom (1 or more) exceeds `t`; infinite `t` is allowed.

    By the finite sums for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).
    """
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for step in range(1 + odd, freedom, 2):
        total += term
        term *= cosine**2 * step / (step + 1)
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return (1 - inside) / 2


@functools.cache
def student(freedom: int, error: float) -> float:
    """The t that Student's distribution exceeds, to both sides together, with probability `error`; found by halving."""
    low, high = 0.0, 1.0
    while 2 * student_above(high, freedom) > error:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 2 * student_above(middle, freedom) > error else (low, middle)
    return high
