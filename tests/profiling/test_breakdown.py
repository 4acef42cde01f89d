"""Tables, plot and page of profiled cases, from records that nobody measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.profiling.record import CLASSES, PROFILE
from bench.report.breakdown import panels, show_profile, tables, write_profile
from bench.report.formats import FORMATS
from bench.row import RunError
from tests.profiling.invented import failed, record, write

NL = record("nl", 20, 60, 15, 0, 0, 3, 1)
APNB = record("apnb", 50, 10, 1, 5, 0, 8, 20, total=25.0)
PSP = failed("psp", "unsupported", "batch norm over one value")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write(tmp_path / "run", NL, APNB, PSP)


def test_a_block_has_a_line_of_milliseconds_and_one_of_shares(run: Path) -> None:
    times, calls, memory, macs = tables(panels([NL, APNB, PSP])[0])
    assert times.title == "ms a call: 64x96, 512 channels, batch 1, fp32, forward, cpu"
    assert times.grid.header == (
        *("block", "conv", "matmul", "softmax", "pool", "norm", "copy", "other", "launch/idle", "total"),
    )
    assert times.grid.rows[0] == ("nl", "20.0", "60.0", "15.0", "0", "0", "3.00", "1.00", "1.00", "100")
    assert times.grid.rows[3][:4] == ("", "50.0 %", "10.0 %", "1.0 %")
    assert times.notes == ("apnb, other: sigmoid 5.00 ms.", "psp: unsupported: batch norm over one value.")
    assert calls.grid.rows[0] == ("nl", "10", "100", "90.0 to 110", "80.0", "25.0 %")
    assert memory.grid.rows[0][3] == "3.00"
    assert memory.notes == ("Operator at the peak: nl by _softmax, apnb by _softmax.",)
    assert macs.grid.rows[1][:3] == ("", "25.0 %", "75.0 %")


def test_a_remainder_below_zero_is_shown() -> None:
    times = tables(panels([record("nl", 60, 50)])[0])[0]
    assert times.grid.rows[0][8] == "-10.0"
    assert times.grid.rows[1][8] == "-10.0 %"


def test_a_terminal_of_100_columns_is_enough(tmp_path: Path) -> None:
    long = record("apnb:inner=128,value_inner=64,sizes=1+3+6+8,norm=true", 50, 10, 1, 5, 7, 8, 10, total=123456.7)
    text = show_profile(write(tmp_path / "run", long, NL), "table")
    assert max(map(len, text.splitlines())) <= 100
    compact = "".join(text.split())
    assert all(part in compact for part in ("apnb:inner=", "sizes=1+3+6+8", "norm=true"))


def test_panels_hold_what_differs_in_the_block_alone() -> None:
    found = panels([NL, record("nl", 10, mode="train"), APNB, record("nl", 10, height=8, width=8)])
    assert [len(panel.records) for panel in found] == [2, 1, 1]
    assert len({panel.slug() for panel in found}) == 3


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_the_same(run: Path, format: str) -> None:
    text = show_profile(run, format)
    assert "apnb" in text
    assert "batch norm over one value" in text
    if format == "json":
        assert json.loads(text)[0]["class_ms"] == NL["class_ms"]
    if format == "csv":
        header = text.splitlines()[0].split(",")
        assert [f"{kind}_ms" for kind in CLASSES] == [name for name in header if name in {f"{k}_ms" for k in CLASSES}]


def test_an_unknown_format_and_a_folder_without_records_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown format"):
        show_profile(run, "yaml")
    with pytest.raises(RunError, match="cannot read"):
        write_profile(tmp_path)


def test_the_page_shows_plot_tables_machine_and_commands(run: Path) -> None:
    paths = write_profile(run)
    assert all(path.exists() for path in paths)
    assert paths[0] == run / "breakdown.md"
    text = paths[0].read_text()
    drawn = next(path for path in paths if path.suffix == ".svg")
    assert f"({drawn.relative_to(run)})" in text
    assert "Measured on Invented Processor, 2 threads, torch 9.9." in text
    assert "Not timed: psp (unsupported)." in text
    assert "python run_bench.py profile apnb" in text
    assert "| nl" in text


def test_plots_are_the_same_bytes_again_and_old_ones_go(run: Path) -> None:
    first = {path: path.read_bytes() for path in write_profile(run) if path.suffix in (".svg", ".png")}
    assert {path: path.read_bytes() for path in write_profile(run) if path in first} == first
    write(run, record("nl", 10, channels=64))
    write_profile(run)
    assert not any(path.exists() for path in first)


def test_only_cases_without_figures_make_a_page_without_a_plot(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", PSP)
    assert not [path for path in write_profile(folder) if path.suffix == ".svg"]
    assert "unsupported" in show_profile(folder, "table")


def test_many_blocks_with_long_names_are_drawn(tmp_path: Path) -> None:
    many = [record(f"gc:ratio={number},pooling=avg", 40, 20, total=number) for number in range(1, 13)]
    assert any(path.suffix == ".png" for path in write_profile(write(tmp_path / "run", *many)))
    assert (tmp_path / "run" / PROFILE).exists()


def test_small_counts_of_multiply_adds_have_a_smaller_unit() -> None:
    small = record("nl", 10, macs=2 * 10**6, class_macs=dict.fromkeys(CLASSES, 0) | {"matmul": 2 * 10**6})
    macs = tables(panels([small])[0])[-1]
    assert macs.title.startswith("MMACs of the forward pass")
    assert macs.grid.rows[0][-1] == "2.00"
