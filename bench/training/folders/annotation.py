"""Annotation: the file that says what each pixel shows, read into labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.training.labels import IGNORE
from modules.options import SpecError

Labels: TypeAlias = NDArray[np.uint8]
"""(H,W) labels, `IGNORE` where a pixel does not count."""

_UNKNOWN = -1


def number_table(labels: Mapping[int, int], ignored: Iterable[int] = ()) -> NDArray[np.int16]:
    """Table from the numbers of an annotation to labels, for `relabel`; other numbers are not allowed.

    Args:
        labels: number in the file and label.
        ignored: numbers of pixels that do not count.
    """
    numbers = {**labels, **dict.fromkeys(ignored, IGNORE)}
    table = np.full(max(numbers) + 1, _UNKNOWN, np.int16)
    table[list(numbers)] = list(numbers.values())
    return table


def relabel(numbers: NDArray[Any], table: NDArray[np.int16], path: Path) -> Labels:
    """Labels of an annotation (H,W) of numbers.

    Raises:
        SpecError: a number that the data set does not have, as in a file of another data set or mapping.
    """
    whole = numbers
    if np.issubdtype(numbers.dtype, np.floating):
        whole = np.where(np.isfinite(numbers) & (np.floor(numbers) == numbers), numbers, _UNKNOWN)
    outside = len(table)
    places = whole.astype(np.int64).clip(_UNKNOWN, outside)  # before and behind the table stands the same last item
    found: NDArray[np.int16] = np.append(table, np.int16(_UNKNOWN))[places]
    if (found == _UNKNOWN).any():
        odd = numbers[found == _UNKNOWN][0]
        allowed = _ranges([int(number) for number in np.flatnonzero(table != _UNKNOWN)])
        raise SpecError(f"annotation '{path}' holds {odd}, which is no number of the data set; allowed: {allowed}")
    return found.astype(np.uint8)


def read_numbers(path: Path, table: NDArray[np.int16]) -> Labels:
    """Labels of a picture whose pixels are numbers, grey or indices of a palette.

    Raises:
        SpecError: the file cannot be read, is in colour, or holds a number that the data set does not have.
    """
    try:
        with Image.open(path) as picture:
            numbers = np.asarray(picture)
    except (OSError, SyntaxError) as error:
        raise SpecError(f"cannot read annotation '{path}': {_why(error)}") from None
    if numbers.ndim != 2:
        raise SpecError(f"annotation '{path}' is in colour; allowed: one channel of numbers")
    return relabel(numbers, table, path)


def read_colours(path: Path, colours: Mapping[tuple[int, int, int], int]) -> Labels:
    """Labels of a picture whose colours stand for classes.

    Raises:
        SpecError: the file cannot be read, or holds a colour that the data set does not have.
    """
    codes_HW = _codes(read_image(path))
    keys = np.array(sorted(_code(*colour) for colour in colours))
    values = {_code(*colour): label for colour, label in colours.items()}
    place = np.searchsorted(keys, codes_HW).clip(max=len(keys) - 1)
    strange = keys[place] != codes_HW
    if strange.any():
        code = int(codes_HW[strange][0])
        odd = (code >> 16, code >> 8 & 255, code & 255)
        raise SpecError(f"annotation '{path}' holds the colour {odd}, which is none of the data set's {len(colours)}")
    labels: Labels = np.array([values[int(key)] for key in keys], np.uint8)[place]
    return labels


def read_image(path: Path) -> NDArray[np.uint8]:
    """A picture as (H,W,3), whatever its colour mode.

    Raises:
        SpecError: the file cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise SpecError(f"cannot read image '{path}': {_why(error)}") from None


def _code(red: int, green: int, blue: int) -> int:
    return red << 16 | green << 8 | blue


def _codes(picture_HW3: NDArray[np.uint8]) -> NDArray[np.int64]:
    codes: NDArray[np.int64] = picture_HW3.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return codes


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or "not a picture, or cut short"


def _ranges(numbers: list[int]) -> str:
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
