"""Layout: what every pixel of a picture shows, before colour.

Lengths in units (u, a quarter of the image's side) grow with the image; lengths in pixels do not. The cues of a picture
stand in its near column, what they decide in its far half, so that the way from one to the other is at least 1.4 u
less 4 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.training.scenes import shapes
from bench.training.scenes.classes import BARS, BLOBS, DISCS, DOTS, ENTRIES, MARKS, POLES, Part
from bench.training.scenes.codes import Codes
from bench.training.scenes.streams import Bits, Floats, Integers, Stream

KNOTS = 5
MARK_PX, POLE_PX, WIRE_PX, DOT_PX, BADGE_PX, SIGN_PX = 2.2, 2.1, 1.5, 3.0, 4.2, 8.4
CUE_CELL_PX, CROSS_PX, INTERIOR_PX, DISC_CELL_PX = 2.0, 2.4, 4.8, 3.0
MARGIN_PX = 1.0


@dataclass(frozen=True)
class Layout:
    """Where things are in n pictures.

    Attributes:
        parts: (n, S, S), the `Part` that each pixel shows.
        entries: (n, 6), the legend entry whose hue a blob takes.
        cue_light: (n,), share of the cue's pixels that are its light part.
    """

    parts: NDArray[np.uint8]
    entries: Integers
    cue_light: Floats

    @property
    def size(self) -> int:
        return int(self.parts.shape[-1])


def lay_out(stream: Stream, codes: Codes, size: int) -> Layout:
    """Place everything, later things over earlier ones. Of the codes only the scene bit shows, in the cue's pattern."""
    parts = _ground(stream, size)
    _marks(stream, parts)
    badges = _bars(stream, parts)
    entries = _blobs(stream, parts)
    _plain(stream, parts)
    for bar, badge in enumerate(badges):
        parts[badge] = Part.BADGE + bar
    cue_light = _signs(stream, codes, parts)
    return Layout(parts, entries, cue_light)


def _ground(stream: Stream, size: int) -> NDArray[np.uint8]:
    """Three kinds of stuff, and the region whose label only the scene bit decides."""
    u = size / 4
    first, second, third = (shapes.smooth(stream.normal(KNOTS, KNOTS), size) for _ in range(3))
    parts = np.where(first > 0.25, Part.STUFF_A, np.where(second > 0, Part.STUFF_B, Part.STUFF_C)).astype(np.uint8)
    turns, phase = stream.uniform(1, 3)[:, None], stream.uniform(0, 2 * np.pi)[:, None]
    y = shapes.centres(size)
    wobble = u / 4 * (1 + np.sin(phase + turns * np.float32(2 * np.pi / size) * y))
    beyond = shapes.centres(size)[None, None, :] > 2 * u + wobble[:, :, None]
    parts[beyond & (third > -0.45)] = Part.CTX
    return parts


def _marks(stream: Stream, parts: NDArray[np.uint8]) -> None:
    size = parts.shape[-1]
    for mark in range(MARKS):
        half, angle = stream.uniform(0.13, 0.2) * size, stream.uniform(0, np.pi)
        reach_x, reach_y = half * np.abs(np.cos(angle)) + MARK_PX / 2, half * np.abs(np.sin(angle)) + MARK_PX / 2
        x = _between(stream, size / 2 + reach_x, size - reach_x)
        y = _between(stream, reach_y, size - reach_y)
        parts[shapes.stroke(size, x, y, angle, half, MARK_PX)] = Part.MARK + mark


def _bars(stream: Stream, parts: NDArray[np.uint8]) -> list[Bits]:
    """Two bars in different rows. Returns the masks of their badges, which are drawn later."""
    size = parts.shape[-1]
    u = size / 4
    rows, badges = stream.order(4), []
    for bar in range(BARS):
        half_x, half_y = stream.uniform(1.1, 1.25) * u, stream.uniform(0.22, 0.28) * u
        x = _between(stream, u + half_x + MARGIN_PX, size - half_x - MARGIN_PX)
        y = _middle(rows[:, bar], u) + stream.uniform(-0.12, 0.12) * u
        parts[shapes.box(size, x, y, half_x, half_y)] = Part.BAR + bar
        end = np.where(stream.bits(), np.float32(1), np.float32(-1))
        badge_x = x + end * (half_x - np.float32(BADGE_PX / 2 + MARGIN_PX))
        badges.append(shapes.box(size, badge_x, y, BADGE_PX / 2, BADGE_PX / 2))
    return badges


def _blobs(stream: Stream, parts: NDArray[np.uint8]) -> Integers:
    size = parts.shape[-1]
    u = size / 4
    slots = stream.order(8)
    for blob in range(BLOBS):
        radius, square = stream.uniform(0.26, 0.40) * u, stream.bits()[:, None, None]
        column, row = np.divmod(slots[:, blob], 4)
        x = _middle(2 + column, u) + stream.uniform(-1, 1) * (u / 2 - radius)
        y = _middle(row, u) + stream.uniform(-1, 1) * (u / 2 - radius)
        inside = np.where(square, shapes.box(size, x, y, radius, radius), shapes.disc(size, x, y, radius))
        parts[inside] = Part.BLOB + blob
    return stream.choice(ENTRIES, BLOBS)


def _plain(stream: Stream, parts: NDArray[np.uint8]) -> None:
    """Checkered discs, and the thin things over them."""
    size = parts.shape[-1]
    u = size / 4
    for _ in range(DISCS):
        x, y, radius = stream.uniform(1.2, 3.7) * u, stream.uniform(0.3, 3.7) * u, stream.uniform(0.22, 0.30) * u
        inside, light = shapes.disc(size, x, y, radius), shapes.checker(size, x, y, DISC_CELL_PX)
        parts[inside & light] = Part.DISC_LIGHT
        parts[inside & ~light] = Part.DISC_DARK
    for _ in range(POLES):
        x, y, half = stream.uniform(1.1, 3.9) * u, stream.uniform(0.8, 3.2) * u, stream.uniform(0.6, 1.2) * u
        parts[shapes.box(size, x, y, POLE_PX / 2, half)] = Part.POLE
    x, y = stream.uniform(1, 3) * u, stream.uniform(1, 3) * u
    parts[shapes.line(size, x, y, stream.uniform(0, np.pi), WIRE_PX)] = Part.WIRE
    for _ in range(DOTS):
        x, y = stream.uniform(0.1, 3.9) * u, stream.uniform(0.1, 3.9) * u
        parts[shapes.box(size, x, y, DOT_PX / 2, DOT_PX / 2)] = Part.DOT


def _signs(stream: Stream, codes: Codes, parts: NDArray[np.uint8]) -> Floats:
    """One cue and the legend in random rows of the near column. Returns the share of light pixels of the cue."""
    size = parts.shape[-1]
    u, half = size / 4, SIGN_PX / 2
    rows = stream.order(1 + ENTRIES)
    xs = (0.5 + stream.uniform(-0.08, 0.08, 1 + ENTRIES)) * np.float32(u)
    ys = _middle(rows, u) + stream.uniform(-0.15, 0.15, 1 + ENTRIES) * np.float32(u)
    for entry in range(ENTRIES):
        x, y = xs[:, 1 + entry], ys[:, 1 + entry]
        parts[shapes.box(size, x, y, half, half)] = Part.RING + entry
        parts[shapes.box(size, x, y, INTERIOR_PX / 2, INTERIOR_PX / 2)] = Part.INTERIOR + entry
    x, y = xs[:, 0], ys[:, 0]
    area = shapes.box(size, x, y, half, half)
    pattern = np.where(
        codes.scene[:, None, None],
        shapes.checker(size, x - np.float32(half), y - np.float32(half), CUE_CELL_PX),
        shapes.cross(size, x, y, CROSS_PX / 2),
    )
    light = area & pattern
    parts[area] = Part.CUE_DARK
    parts[light] = Part.CUE_LIGHT
    share: Floats = (light.sum((1, 2)) / area.sum((1, 2))).astype(np.float32)
    return share


def _middle(slot: Integers, u: float) -> Floats:
    """Middle of a row or column of the 4x4 grid, in pixels."""
    return ((slot + 0.5) * u).astype(np.float32)


def _between(stream: Stream, low: Floats, high: Floats) -> Floats:
    place: Floats = low + stream.uniform(0, 1) * (high - low)
    return place
