"""MAT files for tests, written by the format's description and without the reader's code."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = {"f8": 6, "f4": 7, "i1": 8, "u1": 9, "i2": 10, "u2": 11, "i4": 12, "u4": 13, "i8": 14, "u8": 15}
TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9, "i8": 12, "u8": 13}


def element(order: str, kind: int, body: bytes) -> bytes:
    return struct.pack(order + "II", kind, len(body)) + body + b"\0" * (-len(body) % 8)


def mat_file(arrays: Mapping[str, NDArray[Any]], order: str = "<", deflate: bool = True) -> bytes:
    """The bytes of a MAT file of version 5 with these arrays, columns first."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(order + "H", 0x0100) + (b"IM" if order == "<" else b"MI")
    found = header
    for name, array in arrays.items():
        code = array.dtype.str[1:]
        body = element(order, 6, struct.pack(order + "II", CLASSES[code], 0))
        body += element(order, 5, np.array(array.shape, order + "i4").tobytes())
        body += element(order, 1, name.encode("ascii"))
        body += element(order, TYPES[code], array.astype(order + code).tobytes(order="F"))
        matrix = element(order, 14, body)
        packed = zlib.compress(matrix)
        found += struct.pack(order + "II", 15, len(packed)) + packed if deflate else matrix
    return found
