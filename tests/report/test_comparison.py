"""Cells of a comparison in the five formats."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from bench.report import FORMATS, show_comparison

SLOW: dict[str, Any] = {
    **{"case": "gc:ratio=4 96x96x512 b1 fp32 forward", "entry": "gc", "old_status": "ok", "new_status": "ok"},
    **{"old_ms": 1.23456, "new_ms": 1.6, "ratio": 1.296, "ratio_low": 1.251, "ratio_high": 1.349, "floor": 0.021},
    **{"threshold": 0.1, "verdict": "slower", "regressed": True, "static": ["params 10 -> 12 (+20 %)"], "reason": None},
}
GONE: dict[str, Any] = {
    **{"case": "nl 96x96x512 b1 fp32 forward", "entry": "nl", "old_status": "ok", "new_status": "crashed"},
    **{"old_ms": 2.0, "new_ms": None, "ratio": None, "ratio_low": None, "ratio_high": None, "floor": None},
    **{"threshold": 0.1, "verdict": "broken", "regressed": True, "static": [], "reason": "new: crashed: x_1 | y"},
}
NEW = {**GONE, "entry": "se", "old_status": None, "new_status": "ok", "verdict": "new", "regressed": False}
CELLS = (SLOW, GONE, NEW)


def show(format: str) -> str:
    return show_comparison(CELLS, "3 cases: all told", ["across 100 %"], format)


def test_the_table_shows_times_or_why_there_is_none() -> None:
    text = show("table")
    slow, gone = (next(line for line in text.splitlines() if cell["case"] in line) for cell in (SLOW, GONE))
    for part in ("1.23", "1.60", "1.30x", "1.25 to 1.35", "2.1 %", "slower, REGRESSED", "params 10 -> 12 (+20 %)"):
        assert part in slow
    assert "crashed" in gone
    assert "REGRESSED" in gone
    assert text.endswith("3 cases: all told")
    assert "note: across 100 %" in text


def test_a_new_case_has_no_old_time() -> None:
    text = show_comparison([NEW], "one", [], "table")
    assert "REGRESSED" not in text
    assert "\N{EN DASH}" in text


def test_markdown_leads_with_the_summary_and_keeps_the_table_whole() -> None:
    lines = show("markdown").splitlines()
    assert lines[0] == "**3 cases: all told**"
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len(CELLS)
    assert "x_1 \\| y" in rows[3]
    assert "- across 100 %" in lines


def test_latex_is_escaped_and_its_head_is_a_comment() -> None:
    lines = show("latex").splitlines()
    assert lines[0] == "% 3 cases: all told"
    assert r"x\_1 $|$ y" in "\n".join(lines)
    assert lines[-1] == r"\end{tabular}"


def test_json_and_csv_hold_one_record_a_case() -> None:
    assert json.loads(show("json")) == list(CELLS)
    records = list(csv.DictReader(io.StringIO(show("csv"))))
    assert [record["verdict"] for record in records] == ["slower", "broken", "new"]
    assert (records[0]["static"], records[0]["ratio"], records[1]["ratio"]) == ("params 10 -> 12 (+20 %)", "1.296", "")


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_takes_no_cells(format: str) -> None:
    assert isinstance(show_comparison([], "none", [], format), str)
