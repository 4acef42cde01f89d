"""Rows to a frame: labels, derived columns, verdicts, files that a kill left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.report.frame import MIB, build, label, load, verdict
from bench.row import RunError
from tests.report.synthetic import row, skipped, write_run


@pytest.mark.parametrize(
    ("options", "spelled"),
    [
        ({}, "gc"),
        ({"ratio": 4, "pooling": "avg"}, "gc:ratio=4,pooling=avg"),
        ({"grid": [1, 3, 6, 8]}, "gc:grid=1+3+6+8"),
        ({"bias": True, "norm": False, "ld": None}, "gc:bias=true,norm=false,ld=none"),
        ({"scale": 0.5}, "gc:scale=0.5"),
    ],
)
def test_label_spells_options_as_the_command_line_does(options: dict[str, Any], spelled: str) -> None:
    assert label("gc", options) == spelled


@pytest.mark.parametrize(
    ("ratio", "low", "high", "floor", "said"),
    [
        (0.5, 0.49, 0.51, 0.03, "faster"),
        (2.0, 1.9, 2.1, 0.03, "slower"),
        (0.98, 0.975, 0.985, 0.03, "tie"),
        (1.03, 1.02, 1.04, 0.03, "tie"),
        (0.7, 0.4, 1.2, 0.03, "tie"),
        (0.7, 0.4, 1.0, 0.03, "tie"),
        (0.98, 0.97, 0.99, None, "faster"),
        (0.5, None, None, 0.03, "faster"),
        (0.98, None, None, 0.03, "tie"),
        (0.5, None, None, None, ""),
        (None, None, None, 0.03, ""),
    ],
)
def test_a_difference_below_the_noise_is_a_tie(ratio: Any, low: Any, high: Any, floor: Any, said: str) -> None:
    assert verdict("apnb", "nl", ratio, low, high, floor) == said


def test_the_reference_is_the_reference() -> None:
    assert verdict("nl", "nl", 1.0, 1.0, 1.0, 0.03) == "reference"
    assert verdict("nl", "", None, None, None, None) == ""


def test_derived_columns() -> None:
    made = row("nl", 3, 5, 64, latency_ms=10.0, latency_ci_low_ms=9.5, latency_ci_high_ms=10.2)
    frame = build([made, row("gc:ratio=4", 3, 5, 64), skipped("nl", 97, 97, 2048)])
    first = frame.iloc[0]
    assert (first["label"], first["positions"], first["size"]) == ("nl", 15, "3x5")
    assert first["half_ms"] == pytest.approx(0.5)
    assert first["gmacs"] == made["macs"] / 1e9
    assert first["peak_mib"] == made["traced_peak_bytes"] / MIB
    assert list(frame["rank"]) == [0, 1, 0]
    assert frame["cuda_peak_mib"].isna().all()
    assert frame["latency_ms"].isna().tolist() == [False, False, True]


def test_counts_stay_whole_beside_nulls() -> None:
    big = 2**60 + 1
    frame = build([row("nl", macs_fvcore=None), row("gc", macs_fvcore=17)])
    assert frame["macs_fvcore"].tolist()[1] == 17
    assert build([row("nl", traffic_bytes=big)])["traffic_bytes"].iloc[0] == big


def test_families_that_take_an_image_are_backbones() -> None:
    frame = build([row("nl"), row("jpu"), row("dilated")])
    assert frame["kind"].tolist() == ["blocks", "blocks", "backbones"]


def test_no_rows_make_an_empty_frame() -> None:
    frame = build([])
    assert len(frame) == 0
    assert {"label", "latency_ms", "verdict", "peak_mib"} <= set(frame.columns)


def test_a_truncated_last_line_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [row("nl"), row("gc")])
    whole = (run / "rows.jsonl").read_bytes()
    first = whole.index(b"\n") + 1
    for cut in (len(whole) - 2, first + 40, first + 1, first):
        (run / "rows.jsonl").write_bytes(whole[:cut])
        assert load(run)["label"].tolist() == ["nl"]
    (run / "rows.jsonl").write_bytes(whole[:-1])
    assert load(run)["label"].tolist() == ["nl", "gc"]


def test_a_line_cut_inside_a_character_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [row("nl")])
    with (run / "rows.jsonl").open("ab") as file:
        file.write('{"entry": "é'.encode()[:-1])
    assert len(load(run)) == 1


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [row("nl")])
    text = (run / "rows.jsonl").read_text()
    (run / "rows.jsonl").write_text("{broken\n" + text)
    with pytest.raises(ValueError, match="line 1 is not a row"):
        load(run)


def test_a_folder_without_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot read .*rows\.jsonl"):
        load(tmp_path)


def test_fields_of_later_schemas_are_kept() -> None:
    frame = build([json.loads(json.dumps(row("nl", colour="blue"))), row("gc")])
    assert frame["colour"].tolist()[0] == "blue"
