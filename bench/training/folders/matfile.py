"""MAT file: named arrays as Matlab saves them (format of versions 5 to 7), which COCO-Stuff and PASCAL-Context use.

The format is described in "MAT-File Format", The MathWorks: a header of 128 bytes, then elements of type, size and
data; a matrix is an element of elements, and may stand deflated inside another.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.options import SpecError

_HEADER = 128
_MATRIX, _DEFLATED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_FIRST_NUMERIC_CLASS, _LAST_NUMERIC_CLASS = 6, 15
_COMPLEX = 0x0800


def read_matrix(path: Path, name: str) -> NDArray[Any]:
    """The array of that name, its rows first, as saved.

    Raises:
        SpecError: the file cannot be read, is of another format, or has no real numeric array of that name.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot read annotation '{path}': {error.strerror}") from None
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI"):
        raise SpecError(f"annotation '{path}' is not a MAT file; allowed: Matlab's format of versions 5 to 7")
    order = "<" if data[126:128] == b"IM" else ">"
    if struct.unpack(order + "H", data[124:126])[0] != 0x0100:
        raise SpecError(f"annotation '{path}' is of Matlab's format 7.3; allowed: versions 5 to 7")
    names = []
    try:
        for matrix in _matrices(data[_HEADER:], order):
            found, array = _read(matrix, order, name)
            names.append(found)
            if array is not None:
                return array
    except (struct.error, ValueError, KeyError, StopIteration, zlib.error):
        raise SpecError(f"annotation '{path}' is damaged or cut short") from None
    raise SpecError(f"annotation '{path}' has no numeric array '{name}'; it has: {', '.join(names) or 'nothing'}")


def _matrices(data: bytes, order: str) -> Iterator[bytes]:
    for kind, body in _elements(data, order):
        if kind == _DEFLATED:
            yield from _matrices(zlib.decompress(body), order)
        elif kind == _MATRIX:
            yield body


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(order + "II", data, at)
        if kind >> 16:  # up to four bytes of data stand in the tag itself
            yield kind & 0xFFFF, data[at + 4 : at + 4 + (kind >> 16)]
            at += 8
            continue
        body = data[at + 8 : at + 8 + size]
        if len(body) < size:
            raise ValueError(size)
        yield kind, body
        at += 8 + size + (-size % 8 if kind != _DEFLATED else 0)


def _read(matrix: bytes, order: str, name: str) -> tuple[str, NDArray[Any] | None]:
    parts = _elements(matrix, order)
    flags = struct.unpack_from(order + "I", next(parts)[1])[0]
    shape = np.frombuffer(next(parts)[1], order + "i4")
    found = next(parts)[1].decode("ascii")
    numeric = _FIRST_NUMERIC_CLASS <= flags & 0xFF <= _LAST_NUMERIC_CLASS and not flags & _COMPLEX
    if found != name or not numeric:
        return found, None
    kind, body = next(parts)
    return found, np.frombuffer(body, order + _NUMBERS[kind]).reshape(shape, order="F")
