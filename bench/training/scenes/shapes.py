"""Shapes: which pixels of n square pictures lie inside, one shape a picture.

Pixels are judged by their centres. Positions and lengths are in pixels, (n,) each, or one number for all; x runs along
the last axis. Masks are (n, S, S).
"""

from __future__ import annotations

import numpy as np

from bench.training.scenes.streams import Bits, Floats


def centres(size: int) -> Floats:
    """Coordinates of the pixel centres: (S,)."""
    return np.linspace(0.5, size - 0.5, size, dtype=np.float32)


def box(size: int, x: Floats, y: Floats, half_x: Floats | float, half_y: Floats | float) -> Bits:
    """An upright rectangle."""
    inside_x = np.abs(_offsets(size, x)) < _column(half_x)
    inside_y = np.abs(_offsets(size, y)) < _column(half_y)
    return inside_y[:, :, None] & inside_x[:, None, :]


def disc(size: int, x: Floats, y: Floats, radius: Floats) -> Bits:
    """A disc."""
    square_x, square_y = _offsets(size, x) ** 2, _offsets(size, y) ** 2
    inside: Bits = square_y[:, :, None] + square_x[:, None, :] < (radius**2)[:, None, None]
    return inside


def stroke(size: int, x: Floats, y: Floats, angle: Floats, half_length: Floats, width: float) -> Bits:
    """A straight stroke around (x, y) at an angle in radians."""
    along = slope(size, x, y, angle)
    across = slope(size, x, y, angle + np.float32(np.pi / 2))
    inside: Bits = (np.abs(along) < half_length[:, None, None]) & (np.abs(across) < width / 2)
    return inside


def line(size: int, x: Floats, y: Floats, angle: Floats, width: float) -> Bits:
    """A straight line through (x, y), from edge to edge."""
    inside: Bits = np.abs(slope(size, x, y, angle + np.float32(np.pi / 2))) < width / 2
    return inside


def slope(size: int, x: Floats, y: Floats, angle: Floats) -> Floats:
    """Distance of each pixel from (x, y) along a direction: (n, S, S)."""
    along_x = _offsets(size, x) * np.cos(angle)[:, None]
    along_y = _offsets(size, y) * np.sin(angle)[:, None]
    return along_y[:, :, None] + along_x[:, None, :]


def checker(size: int, x: Floats, y: Floats, cell: float) -> Bits:
    """Every other cell of a checkerboard with a corner of cells at (x, y)."""
    odd_x: Bits = np.floor(_offsets(size, x) / cell).astype(np.intp) % 2 == 1
    odd_y: Bits = np.floor(_offsets(size, y) / cell).astype(np.intp) % 2 == 1
    chosen: Bits = odd_y[:, :, None] != odd_x[:, None, :]
    return chosen


def cross(size: int, x: Floats, y: Floats, half_width: float) -> Bits:
    """An upright cross whose arms reach the edges."""
    arm_x = np.abs(_offsets(size, x)) < half_width
    arm_y = np.abs(_offsets(size, y)) < half_width
    return arm_y[:, :, None] | arm_x[:, None, :]


def smooth(knots: Floats, size: int) -> Floats:
    """Fields through (n, k, k) knots spread evenly from edge to edge, cosine between them: (n, S, S)."""
    count = knots.shape[-1]
    place = centres(size) / size * (count - 1)
    left = np.minimum(place.astype(np.intp), count - 2)
    weight = ((1 - np.cos(np.pi * (place - left))) / 2).astype(np.float32)
    blend = np.zeros((size, count), np.float32)
    pixels = np.arange(size)
    blend[pixels, left], blend[pixels, left + 1] = 1 - weight, weight
    field: Floats = blend @ knots @ blend.T
    return field


def _offsets(size: int, middle: Floats) -> Floats:
    return centres(size) - middle[:, None]


def _column(half: Floats | float) -> Floats | float:
    return half if isinstance(half, float) else half[:, None]
