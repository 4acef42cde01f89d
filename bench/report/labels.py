"""Where labels go so that none covers another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle in points."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Shared area, square points."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def distance(self, point: tuple[float, float]) -> float:
        """From the nearest edge to a point, 0 inside, points."""
        across = max(self.left - point[0], 0.0, point[0] - self.right)
        along = max(self.bottom - point[1], 0.0, point[1] - self.top)
        return math.hypot(across, along)

    def outside(self, frame: Box) -> float:
        """Area that lies outside of a frame, square points."""
        return (self.right - self.left) * (self.top - self.bottom) - self.overlap(frame)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near as possible to the wanted ones, in the same order, at least `gap` apart, within low..high.

    If they cannot all fit, they are spaced evenly from low to high.
    """
    if len(wanted) > 1 and gap * (len(wanted) - 1) >= high - low:
        gap = (high - low) / (len(wanted) - 1)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[tuple[float, int]] = []
    for place, index in enumerate(order):
        mean, size = wanted[index] - place * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean, size = (mean * size + other * more) / (size + more), size + more
        blocks.append((mean, size))
    top = high - gap * (len(wanted) - 1)
    flat = [min(max(mean, low), max(top, low)) for mean, size in blocks for _ in range(size)]
    placed = [0.0] * len(wanted)
    for place, index in enumerate(order):
        placed[index] = flat[place] + place * gap
    return placed


def scatter(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], frame: Box, clearance: float
) -> list[Box]:
    """A box for the label of each point: near its point, inside the frame, clear of points and of other labels.

    Places nearest to the point are tried first, and none is good that lies nearer to another point; where none is free
    the one with the least overlap is taken.
    Coordinates and sizes are in points (1/72 inch).
    """
    dots = [Box(x - clearance, y - clearance, x + clearance, y + clearance) for x, y in points]
    placed: dict[int, Box] = {}
    for index in sorted(range(len(points)), key=lambda index: (-points[index][0], points[index][1])):
        best, least = None, float("inf")
        for candidate in _candidates(points[index], sizes[index], clearance):
            cost = 50 * candidate.outside(frame) + sum(candidate.overlap(other) for other in placed.values())
            cost += sum(candidate.overlap(dot) for dot in dots)
            near = candidate.distance(points[index]) + 1
            cost += sum(
                4.0 for other, point in enumerate(points) if other != index and candidate.distance(point) < near
            )
            if cost < least - 1e-6:
                best, least = candidate, cost
            if least <= 1e-6:
                break
        assert best is not None
        placed[index] = best
    return [placed[index] for index in range(len(points))]


def _candidates(point: tuple[float, float], size: tuple[float, float], clearance: float) -> list[Box]:
    x, y = point
    width, height = size
    found = []
    for ring in range(12):
        away = clearance + 1 + ring * 5
        for across in (1, -1, 0):
            for up in (0, 1, -1, 0.5, -0.5, 2, -2):
                if across == 0 and abs(up) < 1:
                    continue
                left = x - width / 2 if across == 0 else (x + away if across > 0 else x - away - width)
                middle = y + up * (away + height / 2 if across == 0 else away)
                found.append(Box(left, middle - height / 2, left + width, middle + height / 2))
    return found
