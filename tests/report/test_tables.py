"""Efficiency tables and overviews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.report import build, load
from bench.report.digits import MISSING
from bench.report.groups import all_groups, parts, settings
from bench.report.tables import Table, efficiency, failures, latency_overview, memory_overview
from tests.report.synthetic import CHANNELS, SIZES, row, skipped


def table(rows: list[dict[str, Any]]) -> Table:
    """The one efficiency table of these rows."""
    (group,) = all_groups(build(rows))
    return efficiency(group)


def cells(made: Table, name: str) -> dict[str, str]:
    """The row of a block by column."""
    return next(dict(zip(made.grid.header, line, strict=True)) for line in made.grid.rows if line[0] == name)


def compared(name: str, ratio: float, low: float, high: float) -> dict[str, Any]:
    """A row with a ratio."""
    return row(name, ratio=ratio, ratio_ci_low=low, ratio_ci_high=high)


def test_cells() -> None:
    exact = row("nl", latency_ms=12.34, latency_ci_low_ms=12.2, latency_ci_high_ms=12.55, params=2_098_176, ratio=1.0)
    made = table([exact, compared("apnb", 0.52, 0.51, 0.53), compared("gc", 0.98, 0.97, 0.99)])
    assert cells(made, "nl")["ms"] == "12.3 ± 0.2"
    assert cells(made, "nl")["params"] == "2.10M"
    assert [cells(made, name)["vs nl"] for name in ("nl", "apnb", "gc")] == ["1 (ref)", "0.52x", "≈ 0.98x"]
    assert "Noise floor 3.0 % (against nl)." in made.notes[0]
    assert "≈" in made.notes[0]
    assert "CUDA peak MiB" not in made.grid.header


def test_no_tie_no_footnote_of_ties() -> None:
    assert "≈" not in table([row("nl"), compared("apnb", 0.52, 0.51, 0.53)]).notes[0]


def test_a_ratio_of_unknown_noise_is_marked() -> None:
    made = table([row("nl", noise_floor=None), row("apnb", ratio=0.5, noise_floor=None)])
    assert cells(made, "apnb")["vs nl"] == "0.50x ?"
    assert "not measured" in made.notes[0]


def test_cuda_peak_has_a_column_where_it_was_measured() -> None:
    made = table([row("nl", device="cuda", cuda_peak_bytes=2**20 * 609), row("gc", device="cuda")])
    assert cells(made, "nl")["CUDA peak MiB"] == "609"
    assert cells(made, "gc")["CUDA peak MiB"] == MISSING


def test_the_measured_peak_of_a_cpu_stands_beside_the_traced_one() -> None:
    made = table([row("nl", cpu_peak_bytes=2**20 * 50, traced_peak_bytes=2**20 * 40), row("gc")])
    assert (cells(made, "nl")["peak MiB"], cells(made, "nl")["CPU peak MiB"]) == ("40.0", "50.0")
    assert cells(made, "gc")["CPU peak MiB"] == MISSING
    assert "CUDA peak MiB" not in made.grid.header


@pytest.mark.parametrize(
    ("status", "word"), [("skipped", "skipped"), ("oom", "out of memory"), ("unsupported", "unsupported")]
)
def test_a_row_that_is_not_ok_says_so(status: str, word: str) -> None:
    made = table([row("gc"), skipped("nl", 64, 64, 512, status=status, reason="40.0 GiB | 8 GiB")])
    assert cells(made, "nl")["ms"] == word
    assert cells(made, "nl")["vs nl"] == MISSING
    assert cells(made, "nl")["GMACs"] != MISSING
    assert made.notes[-1] == f"{word}: nl (40.0 GiB | 8 GiB)"


def test_blocks_with_one_reason_share_a_line() -> None:
    rows = build([skipped("nl", 64, 64, 512), skipped("cgnl", 64, 64, 512), row("gc")]).to_dict("records")
    assert failures(rows) == ["skipped: nl, cgnl (too many multiply-adds for a run of minutes)"]


def test_null_is_a_dash_and_tiny_is_not_zero() -> None:
    made = table([row("nl", macs=None, traced_peak_bytes=4)])
    assert cells(made, "nl")["GMACs"] == MISSING
    assert float(cells(made, "nl")["peak MiB"]) > 0


def test_blocks_stand_in_the_order_in_which_they_first_appear(run: Path) -> None:
    frame = load(run)
    first = list(dict.fromkeys(frame["label"]))
    for group in all_groups(frame):
        shown = [line[0] for line in efficiency(group).grid.rows]
        assert shown == [name for name in first if name in shown]


def test_two_references_are_both_named() -> None:
    made = table([row("nl"), row("gc", reference="se", noise_floor=0.01)])
    assert "vs reference" in made.grid.header
    assert "3.0 % (against nl); noise floor 1.0 % (against se)" in made.notes[0]


def test_rows_of_different_settings_never_share_a_table() -> None:
    other: list[dict[str, Any]] = [{"env": "e1"}, {"method": "m1"}, {"device": "cuda"}, {"dtype": "bf16"}]
    other += [{"mode": "train"}, {"batch": 8}, {"impl": "fused"}, {"memory_format": "channels_last"}]
    other += [{"compiled": True}]
    frame = build([row("nl"), *(row("nl", **fields) for fields in other)])
    assert [len(group.frame) for group in all_groups(frame)] == [1] * (1 + len(other))
    assert len(parts(frame)) == 4
    slugs = [setting.slug() for part in parts(frame) for setting in settings(part)]
    assert len(set(slugs)) == len(slugs)


def test_overviews(run: Path) -> None:
    blocks = settings(parts(load(run))[0])[0]
    (times,) = latency_overview(blocks)
    assert len(times.grid.header) == 1 + len(SIZES) * len(CHANNELS)
    assert cells(times, "nl")["97x97, 2048"] == "skipped"
    (memory,) = memory_overview(blocks)
    assert float(cells(memory, "nl")["97x97, 2048"]) > 0


def test_a_wide_overview_is_split_by_channels() -> None:
    rows = [row("nl", 8, side, channels) for channels in (64, 128, 256) for side in (8, 9, 10, 11)]
    made = latency_overview(settings(parts(build(rows))[0])[0])
    assert [len(one.grid.header) for one in made] == [5, 5, 5]


def test_csv_files_hold_raw_numbers(run: Path) -> None:
    frame = load(run)
    back = pd.read_csv(run / "tables" / "efficiency.csv")
    assert back["latency_ms"].tolist() == pytest.approx(frame["latency_ms"].tolist(), nan_ok=True, rel=1e-12)
    assert back["macs"].tolist() == frame["macs"].tolist()
    assert back["verdict"].fillna("").tolist() == frame["verdict"].tolist()
    wide = pd.read_csv(run / "tables" / "latency.csv")
    nl = wide[wide["label"] == "nl"].iloc[0]
    assert pd.isna(nl["97x97/2048"])
    exact = frame[(frame["label"] == "nl") & (frame["size"] == "32x32") & (frame["channels"] == 256)]
    assert nl["32x32/256"] == pytest.approx(exact["latency_ms"].iloc[0], rel=1e-12)


def test_latex_files_are_balanced_and_plain(run: Path) -> None:
    for name in ("efficiency", "latency", "memory"):
        text = (run / "tables" / f"{name}.tex").read_text(encoding="utf-8")
        assert text.isascii()
        for environment in ("table", "tabular"):
            assert text.count(f"\\begin{{{environment}}}") == text.count(f"\\end{{{environment}}}") > 0
