"""Plots of training runs: what is joined with what, what is drawn, what is named as missing."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from bench.report import build, write_accuracy
from bench.report.accuracy_costs import join
from bench.report.accuracy_plots import Plot, front, learning_series, write
from bench.report.accuracy_runs import Part, parts
from tests.report.synthetic import row, write_run
from tests.report.trained import BLOCKS, study, trained, write_runs


def part_of(*labels: str, **fields: Any) -> Part:
    return parts([trained(label, seed, **fields) for label in labels for seed in range(2)])[0]


def price(label: str, **fields: Any) -> dict[str, Any]:
    """A row of a sweep at the size of the runs, with the parameters of the block that was trained."""
    return row(label, 16, 16, 48, **{"params": BLOCKS[label][4] if label in BLOCKS else 1000, **fields})


def draw(part: Part, rows: list[dict[str, Any]], folder: Path) -> dict[str, Plot]:
    """The plots by the first word of their file."""
    drawn = write([part], build(rows), folder, "identity", "Imaginary CPU")
    return {plot.svg.name.split("-")[0]: plot for plot in drawn}


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    points = [(1.0, 50.0), (2.0, 60.0), (2.0, 61.0), (3.0, 60.5), (4.0, 61.0), (5.0, 70.0)]
    kept = front([x for x, _ in points], [y for _, y in points])
    beaten = {
        one
        for one, other in itertools.permutations(points, 2)
        if other[0] <= one[0] and other[1] >= one[1] and one != other
    }
    assert kept == [point for point in points if point not in beaten]


def test_only_rows_of_the_map_that_was_trained_are_joined() -> None:
    rows = [price("gc"), price("nl"), row("gc", 32, 32, 48), row("nl", 32, 32, 48), row("gc", 16, 16, 64)]
    (joined,) = join(part_of("gc", "nl"), build(rows))
    assert (joined.group.height, joined.group.channels) == (16, 48)
    assert [one.label for one in joined.priced] == ["gc", "nl"]


def test_each_size_of_a_scaling_study_has_its_own_costs() -> None:
    large = {"size": 128, "map_height": 32, "map_width": 32}
    found = parts([trained("gc"), trained("nl"), trained("gc", **large), trained("nl", **large)])
    rows = [row(name, side, side, 48, params=BLOCKS[name][4]) for name in ("gc", "nl") for side in (16, 32)]
    assert [[one.group.height for one in join(part, build(rows))] for part in found] == [[16], [32]]


def test_options_are_matched_in_any_order_and_by_what_the_label_leaves_out() -> None:
    spelled = trained("aspp:rates=6,width=2")
    named = trained("cgnl", options={"groups": "8"}, block_params=1000)
    rows = [price("aspp:width=2,rates=6"), price("cgnl"), price("cgnl:groups=8")]
    (joined,) = join(parts([spelled, named])[0], build(rows))
    assert [one.row["label"] for one in joined.priced] == ["aspp:width=2,rates=6", "cgnl:groups=8"]


def test_a_row_of_another_block_gives_no_price() -> None:
    rows = [price("identity", params=0), price("gc"), price("nl")]
    (joined,) = join(part_of("identity", "gc", "nl", "apnb"), build(rows))
    assert (joined.missing, joined.other) == (("apnb",), ("identity",))


def test_whole_networks_are_joined_at_every_size_of_the_sweep() -> None:
    bare = {"block_params": None, "block_macs": None, "map_height": None, "map_width": None, "map_channels": None}
    part = parts([trained("gcnet", **bare), trained("nlnet", **bare)])[0]
    rows = [row(name, side, side, 2048, family="network") for name in ("gcnet", "nlnet") for side in (8, 16)]
    assert [joined.group.height for joined in join(part, build([*rows, price("gc"), price("nl")]))] == [8, 16]


def test_accuracy_is_drawn_against_cost_and_what_lacks_one_is_named(tmp_path: Path) -> None:
    rows = [price("gc"), price("nl"), price("apnb", status="oom", reason="too large", latency_ms=None)]
    drawn = draw(part_of("identity", "gc", "nl", "apnb", "gc+ldv1"), [*rows, price("identity", params=0)], tmp_path)
    caption = drawn["pareto"].caption
    assert "Costs on Imaginary CPU at 16x16, 48 channels, cpu, fp32, forward, batch 1" in caption
    assert "Trained without a cost row: gc+ldv1." in caption
    assert "Dotted: the baseline identity" in caption
    assert "No ms a call, or 0: apnb." in caption
    assert drawn["pareto"].png.read_bytes().startswith(b"\x89PNG")
    assert drawn["pareto"].svg.stat().st_size > 5_000


def test_labels_are_drawn_in_every_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[tuple[tuple[str, ...], str]] = []

    def record(axes: Any, labels: list[str], *_: Any) -> None:
        named.append((tuple(labels), axes.get_xlabel()))

    monkeypatch.setattr("bench.report.accuracy_plots.name_points", record)
    rows = [price(name, device="cuda", cuda_peak_bytes=2**20) for name in ("gc", "nl")]
    draw(part_of("gc", "nl"), rows, tmp_path)
    assert named == [(("gc", "nl"), words) for words in ("ms a call", "peak MiB (traced)", "CUDA peak MiB")]


@pytest.mark.parametrize("rows", [[], [row("gc", 16, 16, 48, params=650)], [row("gc"), row("nl")]])
def test_fewer_than_two_prices_draw_no_plot(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    assert set(draw(part_of("gc", "nl"), rows, tmp_path)) == {"learning"}


def test_learning_curves_are_means_over_the_seeds() -> None:
    curves = ([[10, 2.0, None], [20, 1.0, 40.0]], [[10, 4.0, None], [20, 1.0, 50.0]])
    part = parts([trained("gc", seed, curve=curve) for seed, curve in enumerate(curves)])[0]
    loss, miou = (learning_series(part.blocks[0], column) for column in (1, 2))
    assert loss is not None
    assert miou is not None
    assert (loss.xs, loss.ys) == ((10, 20), (3.0, 1.0))
    assert loss.above == pytest.approx((2**0.5, 0.0))
    assert (miou.xs, miou.ys) == ((20,), (45.0,))


def test_long_curves_are_averaged_over_windows() -> None:
    part = parts([trained("gc", curve=[[index + 1, float(index), None] for index in range(1200)])])[0]
    loss = learning_series(part.blocks[0], 1)
    assert loss is not None
    assert len(loss.xs) == 60
    assert (loss.xs[0], loss.ys[0]) == (10.5, 9.5)


def test_runs_that_were_evaluated_once_have_no_panel_of_miou(tmp_path: Path) -> None:
    ended = {"curve": [[10, 2.0, None], [20, 1.0, 40.0]]}
    drawn = draw(part_of("gc", "nl", **ended), [], tmp_path / "ended")["learning"]
    grown = draw(part_of("gc", "nl"), [], tmp_path / "grown")["learning"]
    assert drawn.svg.stat().st_size < grown.svg.stat().st_size
    assert not draw(part_of("gc", "nl", curve=None), [], tmp_path / "none")


def test_a_run_with_costs_beside_it_is_drawn_the_same_twice(tmp_path: Path) -> None:
    rows = [price(name) for name in BLOCKS]
    drawn = []
    for name in ("one", "two"):
        folder = write_runs(tmp_path / name, study(2))
        write_run(folder / "cost", rows)
        drawn.append({path.name: path.read_bytes() for path in write_accuracy(folder) if path.parent.name == "plots"})
    assert drawn[0] == drawn[1]
    assert any(name.startswith("pareto-") for name in drawn[0])


def test_a_sweep_elsewhere_is_read_from_there(tmp_path: Path) -> None:
    folder = write_runs(tmp_path / "run", study(1))
    sweep = write_run(tmp_path / "sweep", [price("gc"), price("nl")])
    assert any(path.name.startswith("pareto-") for path in write_accuracy(folder, sweep))
    with pytest.raises(ValueError, match="cannot read"):
        write_accuracy(folder, tmp_path / "nowhere")
