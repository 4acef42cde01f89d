"""Render: pictures and labels of any indices of a split, with or without a code flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.training.scenes.codes import Codes, draw_codes
from bench.training.scenes.layout import lay_out
from bench.training.scenes.paint import labels, paint
from bench.training.scenes.streams import Integers, Stream

APPEARANCE, CODES = 0, 1

Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True)
class Rendered:
    """Pictures as they are seen.

    Attributes:
        images: (n, 3, S, S).
        targets: (n, S, S), classes.
        parts: (n, S, S), the `Part` that a pixel shows.
        codes: those that decided the targets.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    codes: Codes


def render(split: str, indices: Sequence[int], size: int, seed: int, flip: str | None = None) -> Rendered:
    """Pictures of the given indices.

    Args:
        split: `train` or `test`.
        indices: not negative.
        size: image side, S.
        seed: of the data set.
        flip: one of `codes.FLIPS`, for the counterfactual twins: equal but for the cue, and labelled accordingly.

    Raises:
        SpecError: no such flip.
    """
    codes = draw_codes(Stream(CODES, split, seed, indices))
    if flip is not None:
        codes = codes.flipped(flip)
    stream = Stream(APPEARANCE, split, seed, indices)
    pose = stream.choice(8)
    layout = lay_out(stream, codes, size)
    return Rendered(
        _posed(paint(stream, layout, codes), pose),
        _posed(labels(layout, codes), pose),
        _posed(layout.parts, pose),
        codes,
    )


def _posed(pixels: NDArray[Pixel], pose: Integers) -> NDArray[Pixel]:
    """Each picture turned or mirrored: its pose is one of the eight symmetries of the square."""
    posed: NDArray[Pixel] = pixels.copy()
    for one in range(1, 8):
        chosen = pose == one
        turned = pixels[chosen]
        if one & 1:
            turned = turned[..., ::-1]
        if one & 2:
            turned = turned[..., ::-1, :]
        posed[chosen] = turned.swapaxes(-1, -2) if one & 4 else turned
    return posed
