"""Frames in the five formats."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from bench.report import FORMATS, build, render
from bench.report.formats import Grid, latex_text
from tests.report.synthetic import row, skipped

FRAME = pd.DataFrame(
    {
        "block": ["a_b & 100%", "c|d"],
        "ms": [1.23456, None],
        "params": pd.array([2_098_176, None], dtype="Int64"),
        "uncounted": [["aten::softmax", "aten::bmm"], []],
        "ok": [True, False],
    }
)


def test_json_is_raw_with_null() -> None:
    first, second = json.loads(render(FRAME, "json"))
    assert first["ms"] == 1.23456
    assert first["uncounted"] == ["aten::softmax", "aten::bmm"]
    assert (second["ms"], second["params"], second["ok"]) == (None, None, False)


def test_csv_round_trip() -> None:
    back = pd.read_csv(io.StringIO(render(FRAME, "csv")))
    assert back["block"].tolist() == FRAME["block"].tolist()
    assert back["ms"].iloc[0] == 1.23456
    assert back["ms"].isna().iloc[1]
    assert back["uncounted"].iloc[0] == "aten::softmax; aten::bmm"
    assert "2098176," in render(FRAME, "csv")


def test_latex_escapes() -> None:
    text = render(FRAME, "latex")
    assert r"a\_b \& 100\%" in text
    assert r"c$|$d" in text
    assert text.count(r"\\") == 3
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert latex_text("x^2 {~} \\ #$ 1 ± 2 ≈ <") == (
        r"x\textasciicircum{}2 \{\textasciitilde{}\} \textbackslash{} \#\$ 1 $\pm$ 2 $\approx$ $<$"
    )


def test_latex_is_ascii_for_every_sign_of_the_tables() -> None:
    assert latex_text("1 ± 2 ≈ \N{EN DASH} †").isascii()


def test_markdown_escapes_pipes() -> None:
    lines = render(FRAME, "markdown").splitlines()
    assert len(lines) == 4
    assert "c\\|d" in lines[3]
    assert "\N{EN DASH}" in lines[3]


def test_table_is_plain() -> None:
    text = render(FRAME, "table")
    assert "1.23" in text
    assert "1.23456" not in text
    assert "2098176" in text


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="table, json, csv, latex, markdown"):
        render(FRAME, "xml")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_a_whole_frame_and_an_empty_one(name: str) -> None:
    assert render(build([row("nl"), skipped("gc", 97, 97, 512)]), name)
    assert isinstance(render(build([]), name), str)


def test_a_grid_without_rows() -> None:
    grid = Grid(("a", "b"), (), "lr")
    assert "a" in grid.markdown()
    assert r"\bottomrule" in grid.latex()
