"""Paint: the colours of a laid-out picture, as a camera would return them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.training.scenes import classes, shapes
from bench.training.scenes.classes import BLOBS, ENTRIES, MARKS, PARTS, Part
from bench.training.scenes.codes import Codes
from bench.training.scenes.layout import KNOTS, Layout
from bench.training.scenes.streams import Floats, Integers, Stream

GREYS = (0.46, 0.50, 0.54)
CTX_COLOUR = (0.43, 0.53, 0.46)
BAR_COLOUR = (0.49, 0.40, 0.55)
POLE_COLOUR = (0.24, 0.31, 0.42)
WIRE_COLOUR = (0.12, 0.12, 0.12)
DOT_COLOUR = (0.86, 0.46, 0.16)
LIGHT, DARK = 0.88, 0.08
GREY_JITTER = 0.035
HUE_JITTER, BLOB_HUE_JITTER, SATURATION = 0.2, 0.08, 0.42
SMOOTH, WHITE, STRIPES = 0.06, 0.10, 0.10
CONTRAST, BRIGHTNESS, NOISE = (0.8, 1.2), 0.06, 0.06


def palette(stream: Stream, layout: Layout, codes: Codes) -> Floats:
    """Colour of each part: (n, parts, 3). Of the codes only badges and rings take their colour."""
    count = len(layout.parts)
    colours = np.zeros((count, PARTS, 3), np.float32)
    jitter = GREY_JITTER * stream.normal(4, 1)
    grounds = np.array([*((grey,) * 3 for grey in GREYS), CTX_COLOUR], np.float32)
    colours[:, Part.STUFF_A : Part.MARK] = grounds + jitter
    value = stream.uniform(0.72, 0.78, MARKS)[:, :, None]
    colours[:, Part.MARK : Part.BAR] = value - np.array([0, 0.04, 0.32], np.float32)
    colours[:, Part.BAR : Part.BLOB] = np.array(BAR_COLOUR, np.float32) + GREY_JITTER * stream.normal(1, 1)
    hues = stream.uniform(0, 2 * np.pi, 1) + np.arange(ENTRIES, dtype=np.float32) * np.float32(2 * np.pi / ENTRIES)
    hues += stream.uniform(-HUE_JITTER, HUE_JITTER, ENTRIES)
    blob_hues = np.take_along_axis(hues, layout.entries, axis=1)
    blob_hues += stream.uniform(-BLOB_HUE_JITTER, BLOB_HUE_JITTER, BLOBS)
    colours[:, Part.BLOB : Part.DISC_DARK] = _colour_circle(blob_hues)
    colours[:, Part.DISC_DARK] = 0.35
    colours[:, Part.DISC_LIGHT] = 0.65
    colours[:, Part.POLE] = POLE_COLOUR
    colours[:, Part.WIRE] = WIRE_COLOUR
    colours[:, Part.DOT] = DOT_COLOUR
    colours[:, Part.BADGE : Part.CUE_DARK] = _shade(np.stack([codes.bars, ~codes.bars], axis=1))
    light = layout.cue_light[:, None]
    colours[:, Part.CUE_DARK] = 0.5 - 0.7 * light
    colours[:, Part.CUE_LIGHT] = 0.5 + 0.7 * (1 - light)
    colours[:, Part.RING : Part.INTERIOR] = _shade(codes.legend)
    colours[:, Part.INTERIOR : PARTS] = _colour_circle(hues)
    return colours


def labels(layout: Layout, codes: Codes) -> NDArray[np.uint8]:
    """Class of each pixel: (n, S, S)."""
    table = np.zeros((len(layout.parts), PARTS), np.uint8)
    table[:, Part.STUFF_A : Part.CTX] = (classes.STUFF_A, classes.STUFF_B, classes.STUFF_C)
    table[:, Part.CTX] = classes.CTX + codes.scene
    table[:, Part.MARK : Part.BAR] = (classes.MARK + codes.scene)[:, None]
    bars = classes.REG + np.stack([codes.bars, ~codes.bars], axis=1)
    table[:, Part.BAR : Part.BLOB] = table[:, Part.BADGE : Part.CUE_DARK] = bars
    table[:, Part.BLOB : Part.DISC_DARK] = classes.PAIR + np.take_along_axis(codes.legend, layout.entries, axis=1)
    table[:, Part.DISC_DARK : Part.POLE] = classes.DISC
    table[:, Part.POLE : Part.BADGE] = (classes.POLE, classes.WIRE, classes.DOT)
    table[:, Part.CUE_DARK : PARTS] = classes.SIGN
    targets: NDArray[np.uint8] = table[_pictures(layout), layout.parts]
    return targets


def paint(stream: Stream, layout: Layout, codes: Codes) -> NDArray[np.uint8]:
    """The pictures: (n, 3, S, S). Draws what depends on the image's side last, so that all sides share the rest."""
    colours = palette(stream, layout, codes)
    contrast = stream.uniform(*CONTRAST)[:, None, None]
    brightness = stream.uniform(-BRIGHTNESS, BRIGHTNESS)[:, None, None]
    colours = (colours - 0.5) * contrast + (0.5 + brightness)
    texture = _texture(stream, layout) * contrast
    noise = NOISE * stream.normal(3, layout.size, layout.size)
    pixels = np.moveaxis(colours[_pictures(layout), layout.parts], 3, 1) + texture[:, None] + noise
    rounded: NDArray[np.uint8] = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    return rounded


def _texture(stream: Stream, layout: Layout) -> Floats:
    """Shading of stuff and of the ambiguous region: (n, S, S), zero elsewhere."""
    size, parts = layout.size, layout.parts
    hills = SMOOTH * shapes.smooth(stream.normal(KNOTS, KNOTS), size)
    turn, phase = stream.uniform(0, np.pi), stream.uniform(0, 2 * np.pi)[:, None, None]
    frequency = np.float32(2 * np.pi) / stream.uniform(4, 6)[:, None, None]
    origin = np.zeros_like(turn)
    stripes = STRIPES * np.sin(shapes.slope(size, origin, origin, turn) * frequency + phase)
    white = WHITE * stream.normal(size, size)
    textures = np.where(parts == Part.STUFF_B, white, np.where(parts == Part.STUFF_C, stripes, hills))
    shading: Floats = np.where(parts <= Part.CTX, textures, np.float32(0))
    return shading


def _shade(bit: NDArray[np.bool_]) -> Floats:
    """Grey of a bit, light for 0 and dark for 1: (..., 1)."""
    shade: Floats = np.where(bit[..., None], np.float32(DARK), np.float32(LIGHT))
    return shade


def _colour_circle(hue: Floats) -> Floats:
    """Colours of equal mean around the middle grey: (..., 3)."""
    red_green = np.array([2, -1, -1], np.float32) / np.float32(np.sqrt(6))
    green_blue = np.array([0, 1, -1], np.float32) / np.float32(np.sqrt(2))
    around = np.cos(hue)[..., None] * red_green + np.sin(hue)[..., None] * green_blue
    colours: Floats = np.float32(0.5) + np.float32(SATURATION) * around
    return colours


def _pictures(layout: Layout) -> Integers:
    return np.arange(len(layout.parts))[:, None, None]
