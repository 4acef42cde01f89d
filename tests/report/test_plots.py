"""Plots: they exist, say what is missing, keep labels apart, and come out the same twice."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from bench.report import build, load
from bench.report import plots as drawing
from bench.report.groups import groups, parts, settings
from bench.report.labels import Box, scatter, spread
from bench.report.plots import CURVES, Plot
from bench.report.series import panels
from bench.report.style import assign
from bench.report.versus import contests
from tests.report.synthetic import row, skipped

TIME, MEMORY = CURVES[0], CURVES[1]


def test_every_kind_is_drawn_as_svg_and_png(run: Path) -> None:
    names = {path.name.split("-")[0] for path in (run / "plots").iterdir()}
    assert names == {"time", "memory", "macs", "tradeoff", "jpu"}
    for svg in (run / "plots").glob("*.svg"):
        assert svg.stat().st_size > 5_000
        assert svg.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def again(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Plot]:
    """The plots of the run, drawn once more elsewhere."""
    return drawing.write(load(run), tmp_path_factory.mktemp("again"), "Imaginary CPU @ 1.00GHz")


def test_equal_rows_give_equal_bytes(again: list[Plot], run: Path) -> None:
    assert len(again) == len(list((run / "plots").glob("*.svg")))
    for plot in again:
        for path in (plot.svg, plot.png):
            assert path.read_bytes() == (run / "plots" / path.name).read_bytes()
    assert "<dc:date>" not in again[0].svg.read_text()


def test_captions_name_the_case_and_what_is_missing(again: list[Plot]) -> None:
    time, memory, *_ = again
    for words in ("Imaginary CPU", "cpu", "fp32", "forward", "batch 1", "skipped", "95 %"):
        assert words in time.caption
    assert "identity" in memory.caption


def test_a_missing_point_breaks_the_line() -> None:
    rows = [row("nl", side, side) for side in (8, 16, 32)]
    rows[1] = skipped("nl", 16, 16, 512)
    rows += [row("gc", side, side) for side in (8, 16, 32)] + [row("se", 8, 8), row("se", 16, 16)]
    (panel,) = panels(groups(settings(parts(build(rows))[0])[0]), TIME)
    nl, _, se = panel.series
    assert [math.isnan(y) for y in nl.ys] == [False, True, False]
    assert nl.complete
    assert not se.complete
    assert se.last[0] == 256
    assert panel.missing == {"skipped": 1}


def test_traced_memory_is_drawn_where_timing_was_skipped_and_zero_is_named() -> None:
    rows = [row("nl", 8, 8), skipped("nl", 16, 16, 512), row("identity", 8, 8), row("identity", 16, 16)]
    (panel,) = panels(groups(settings(parts(build(rows))[0])[0]), MEMORY)
    assert [series.label for series in panel.series] == ["nl"]
    assert panel.series[0].complete
    assert panel.zero == ("identity",)
    assert not panel.missing


def test_only_skipped_rows_draw_no_times(tmp_path: Path) -> None:
    drawn = drawing.write(build([skipped("nl", 8, 8, 64), skipped("nl", 16, 16, 64)]), tmp_path)
    assert [plot.svg.name.split("-")[0] for plot in drawn] == ["memory"]


def test_one_row_can_be_drawn(tmp_path: Path) -> None:
    names = {plot.svg.name.split("-")[0] for plot in drawing.write(build([row("nl")]), tmp_path)}
    assert names == {"time", "memory", "macs", "tradeoff"}


def test_cuda_memory_and_unmeasured_intervals(tmp_path: Path) -> None:
    loose = {"latency_ci_low_ms": None, "latency_ci_high_ms": None, "device": "cuda", "cuda_peak_bytes": 2**24}
    rows = [row(name, side, side, **loose) for name in ("nl", "gc", "dilated", "resnet:up=jpu") for side in (8, 16)]
    names = {plot.svg.name.split("-")[0] for plot in drawing.write(build(rows), tmp_path)}
    assert {"cuda", "jpu"} <= names


def test_many_channel_counts_go_on_several_sheets(tmp_path: Path) -> None:
    rows = [row("nl", 8, 8, 2**power) for power in range(5, 11)]
    assert len([1 for plot in drawing.write(build(rows), tmp_path) if plot.svg.name.startswith("time-")]) == 2


def test_jpu_needs_dilated_beside_it() -> None:
    found = groups(settings(parts(build([row("resnet:up=jpu"), row("dilated", 32, 32)]))[0])[0])
    assert contests(found) == []


def test_styles_differ() -> None:
    styles = assign([f"block{index}" for index in range(28)], ["block3"])
    assert (styles["block3"].colour, styles["block3"].line) == ("#000000", "-")
    looks = [(style.colour, style.line) for style in styles.values()]
    assert len(set(looks)) == 28
    assert len({(style.colour, style.marker) for style in styles.values()}) == 28


@pytest.mark.parametrize("wanted", [[0.5] * 9, [0.0, 0.0, 1.0, 1.0], [0.9, 0.1, 0.5], [0.2], []])
def test_spread_keeps_labels_apart_in_order_and_inside(wanted: list[float]) -> None:
    placed = spread(wanted, 0.1, 0.0, 1.0)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in placed)
    ordered = [place for _, place in sorted(zip(wanted, placed, strict=True))]
    assert all(after - before >= 0.1 - 1e-9 for before, after in itertools.pairwise(ordered))


def test_spread_of_more_than_fit_is_even() -> None:
    assert spread([0.5] * 5, 0.5, 0.0, 1.0) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


def test_scatter_labels_do_not_overlap() -> None:
    points = [(100.0 + index % 4, 100.0 + index // 4) for index in range(12)]
    placed = scatter(points, [(40.0, 8.0)] * 12, Box(0, 0, 250, 250), 3.5)
    assert all(one.overlap(other) < 1e-6 for one, other in itertools.combinations(placed, 2))
