"""Matlab's files: those that another program wrote, and what is refused."""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.training.folders.annotation import number_table, relabel
from bench.training.folders.matfile import read_matrix
from modules.options import SpecError
from tests.training.mat_bytes import mat_file

HEADER = b"MATLAB 5.0 MAT-file".ljust(124)
# What scipy.io.savemat 1.17 wrote behind the header's text: deflated arrays, one of them of cells, before and after S;
# doubles as they are; and an array whose name and four bytes stand in their tags.
PACKED = (
    "AAFJTQ8AAABKAAAAeJzjY2BgWAHEbEDMAcSMDBDAisRngtIgfnJiQUlmfl4xH5BtgaSPBYs+ViTzBKD8RIXkxBIgDdJvQEA/M4p+ZoaS8nwGAOyR"
    "CEkPAAAALgAAAHic42NgYLAAYjYg5gBiTgYIYIXymYCYGYgZgTAYygepZeBl3BYTxcAAACV7AkcPAAAAQgAAAHic42NgYAgAYjYg5gBibgYIYIXy"
    "mYCYGYgZgZgPiItS0zPz83wTC4JLStPSGBhYgGI8YB3MQDUsQPWsYB4A7TsGYg=="
)
DOUBLES = (
    "AAFJTQ4AAABoAAAABgAAAAgAAAAGAAAAAAAAAAUAAAAIAAAAAwAAAAIAAAABAAAACAAAAExhYmVsTWFwCQAAADAAAAAAAAAAAAAAQAAAAAAAAAAA"
    "AAAAAAAAN0AAAAAAAKB8QAAAAAAAABxAAAAAAAAAAEA="
)
SMALL = "AAFJTQ4AAAAwAAAABgAAAAgAAAAJAAAAAAAAAAUAAAAIAAAAAQAAAAIAAAABAAEAUwAAAAIAAgABAgAA"


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (PACKED, "S", [[0, 1, 92], [13, 182, 90]]),
        (PACKED, "regionMapStuff", [[0, 1, 2], [3, 4, 5]]),
        (DOUBLES, "LabelMap", [[2, 458], [0, 7], [23, 2]]),
        (SMALL, "S", [[1, 2]]),
    ],
)
def test_files_of_another_writer(text: str, name: str, expected: list[list[int]], tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(HEADER + base64.b64decode(text))
    assert read_matrix(path, name).tolist() == expected


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float64"])
def test_types_and_byte_orders(order: str, deflate: bool, dtype: str, tmp_path: Path) -> None:
    array = np.arange(15).reshape(3, 5).astype(dtype)
    path = tmp_path / "a.mat"
    path.write_bytes(mat_file({"before": array + 1, "S": array}, order, deflate))
    assert read_matrix(path, "S").tolist() == array.tolist()


def test_what_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(HEADER + base64.b64decode(PACKED))
    with pytest.raises(SpecError, match="no numeric array 'LabelMap'; it has: captions, S, regionMapStuff"):
        read_matrix(path, "LabelMap")
    with pytest.raises(SpecError, match="no numeric array 'captions'"):
        read_matrix(path, "captions")
    with pytest.raises(SpecError, match=r"cannot read annotation .*b.mat': No such file"):
        read_matrix(tmp_path / "b.mat", "S")


def test_other_formats(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF")
    with pytest.raises(SpecError, match=r"format 7.3"):
        read_matrix(path, "S")
    path.write_bytes(b"\x89PNG" * 40)
    with pytest.raises(SpecError, match="is not a MAT file"):
        read_matrix(path, "S")


@given(data=st.data())
@settings(max_examples=150)
def test_damage_is_said_and_never_a_traceback(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = HEADER + base64.b64decode(data.draw(st.sampled_from([PACKED, DOUBLES, SMALL])))
    at = data.draw(st.integers(128, len(whole) - 1))
    damaged = whole[:at]
    if data.draw(st.booleans()):
        damaged += bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    path = tmp_path_factory.getbasetemp() / "damaged.mat"
    path.write_bytes(damaged)
    with suppress(SpecError):
        read_matrix(path, "S")


def test_numbers_that_are_no_labels() -> None:
    table = number_table({1: 0, 3: 1}, ignored=[0])
    path = Path("a.mat")
    assert relabel(np.array([[1.0, 3.0, 0.0]]), table, path).tolist() == [[0, 1, 255]]
    for odd in (2, -1, 4, 1 << 40):
        with pytest.raises(SpecError, match=f"holds {odd}, .*; allowed: 0-1, 3$"):
            relabel(np.array([[1, odd]]), table, path)
    for strange in (1.5, np.nan, np.inf):
        with pytest.raises(SpecError, match=f"holds {strange}"):
            relabel(np.array([[1.0, strange]]), table, path)
